"""Which rows of a batch are contrasted with what: the requests' mixes, sorted into calls of the kernel.

Rows whose voices are found in the same way make a section. The plan of a batch is made once and used while the batch
stays the same; ``hearing`` carries it out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from motet_decoding.adapting import ByDivergence, ByEntropy, ByPosition
from motet_decoding.engine.arguments import Heard, Mix
from motet_kernels.contrast import ContrastRows

#: Logits of each voice that are worked on at a time where more than the kernel's own memory is needed; all ranks of a
#: tensor parallel engine cut a batch in the same places, because their heads gather each other's shards.
ROOM = 1 << 23

#: What a strength follows, by the class of its settings.
_Followed = type[ByEntropy] | type[ByDivergence] | type[ByPosition] | None

#: A row of the batch, what it asks for, whether it is edited, and its group's rows by member.
_Row = tuple[int, Mix, bool, Mapping[int, int]]


@dataclass(frozen=True, slots=True, eq=False)
class Asking:
    """What one engine request asks for.

    Attributes:
        contrast: a leader's, or that of a request without a group; None for followers.
        edited: whether its logits are not the model's own any more when the contrast sees them.
        group: the number of its group.
        member: its place in the group; 0 leads.
        drawn: under V1 the running list of its drawn tokens.
    """

    contrast: Mix | None
    edited: bool = False
    group: int | None = None
    member: int = 0
    drawn: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Source:
    """Where a voice is heard: as ``Heard`` says, without which member and how much."""

    kind: Literal["amateur", "member", "layer"]
    layers: tuple[int, ...] = ()

    @classmethod
    def of(cls, voice: Heard) -> Source:
        """A voice's."""
        return cls(voice.source, tuple(sorted(voice.layers)))


@dataclass(frozen=True, slots=True, eq=False)
class Section:
    """Rows of a batch that hear voices of the same sources, and whose strength follows the same thing.

    Attributes:
        sources: of the voices, in order.
        adapt: what the strengths follow.
        edited: whether the logits of any are not the model's own any more.
        index: which rows of the batch, int64 [rows]; None for all, in order.
        followers: of each voice, its rows of the batch, int64 [rows]; None for voices that aren't members.
        weights: the voices', float32 [rows, voices].
        strength, plausibility, temperature: float32 [rows].
        extrapolate: boolean [rows]; picks the form.
        scale: of what the strengths follow, float32 [rows].
        schedules: of strengths that follow the position, a row's each.
        fixed: what the kernel is told where the strengths follow nothing.
    """

    sources: tuple[Source, ...]
    adapt: _Followed
    edited: bool
    index: torch.Tensor | None
    followers: tuple[torch.Tensor | None, ...]
    weights: torch.Tensor
    strength: torch.Tensor
    plausibility: torch.Tensor
    temperature: torch.Tensor
    extrapolate: torch.Tensor
    scale: torch.Tensor
    schedules: tuple[tuple[int, ByPosition], ...]
    fixed: ContrastRows | None = None

    def __len__(self) -> int:
        return len(self.strength)

    def settings(self, share: torch.Tensor | None) -> ContrastRows:
        """What the kernel is told, with a share of the strength for each row, [rows], or all of it.

        One voice is given to the kernel as it is, its weight in the strength; of several, their weighted sum.
        """
        strength = self.strength if share is None else self.strength * share
        total = strength * self.weights.sum(1)
        rows = ContrastRows.of(total, self.plausibility, self.extrapolate, self.temperature, self.index)
        return rows if len(self.sources) == 1 else replace(rows, pull=strength / self.temperature)

    def parts(self, vocab: int) -> Iterator[Section]:
        """The section in pieces whose voices fit into ``ROOM``."""
        step = max(1, ROOM // vocab)
        if len(self) <= step:
            yield self
            return
        for start in range(0, len(self), step):
            yield self._of_these(slice(start, min(start + step, len(self))))

    def _of_these(self, part: slice) -> Section:
        device = self.strength.device
        index = torch.arange(part.start, part.stop, device=device) if self.index is None else self.index[part]
        cut: Any = {
            name: getattr(self, name)[part]
            for name in (
                *("weights", "strength", "plausibility", "temperature", "extrapolate", "scale"),
                "schedules",
            )
        }
        followers = tuple(None if rows is None else rows[part] for rows in self.followers)
        made = replace(self, index=index, followers=followers, fixed=None, **cut)
        return made if self.fixed is None else replace(made, fixed=made.settings(None))


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What is to be done in a batch.

    Attributes:
        sections: no row in two of them.
        leading: the followers' rows of the groups that are whole, and their leaders' rows, int64 [followers] each.
    """

    sections: tuple[Section, ...]
    leading: tuple[torch.Tensor, torch.Tensor] | None


def plan_of(asking: Sequence[tuple[int, Asking]], batch: int, device: torch.device) -> Plan:
    """Sorts a batch.

    Args:
        asking: what rows ask for, in their order; a leader without all of its members is left out.
        batch: how many rows there are, plain ones and all.
        device: the logits'.

    Raises:
        RuntimeError: for a request that hears members of a group and is in none.
    """
    groups: dict[int, dict[int, int]] = {}
    for row, each in asking:
        if each.group is not None:
            groups.setdefault(each.group, {})[each.member] = row
    alike: dict[tuple[tuple[Source, ...], _Followed], list[_Row]] = {}
    pairs: list[tuple[int, int]] = []
    for row, each in asking:
        if each.contrast is None:
            continue
        heard = {voice.member for voice in each.contrast.voices if voice.source == "member"}
        if heard and each.group is None:
            raise RuntimeError("a contrast with other sequences reached sampling without its group")
        members = {} if each.group is None else groups[each.group]
        if not heard <= members.keys():
            continue
        pairs += [(follower, row) for member, follower in members.items() if member]
        sources = tuple(Source.of(voice) for voice in each.contrast.voices)
        adapt = None if each.contrast.adapt is None else type(each.contrast.adapt)
        alike.setdefault((sources, adapt), []).append((row, each.contrast, each.edited, members))
    sections = tuple(_section(*key, rows, batch, device) for key, rows in alike.items())
    if not pairs:
        return Plan(sections, None)
    followers, leaders = torch.tensor(pairs, device=device).unbind(1)
    return Plan(sections, (followers, leaders))


def _section(
    sources: tuple[Source, ...],
    adapt: _Followed,
    rows: Sequence[_Row],
    batch: int,
    device: torch.device,
) -> Section:
    mixes = [mix for _, mix, _, _ in rows]
    numbers = torch.tensor(
        [[m.strength, m.plausibility, m.amateur_temperature, _scale(m)] for m in mixes], device=device
    )
    made = Section(
        sources=sources,
        adapt=adapt,
        edited=any(edited for _, _, edited, _ in rows),
        index=None if len(rows) == batch else torch.tensor([row for row, _, _, _ in rows], device=device),
        followers=tuple(
            torch.tensor([members[mix.voices[voice].member] for _, mix, _, members in rows], device=device)
            if source.kind == "member"
            else None
            for voice, source in enumerate(sources)
        ),
        weights=torch.tensor([[voice.weight for voice in mix.voices] for mix in mixes], device=device),
        strength=numbers[:, 0],
        plausibility=numbers[:, 1],
        temperature=numbers[:, 2],
        extrapolate=torch.tensor([mix.form == "extrapolate" for mix in mixes], device=device),
        scale=numbers[:, 3],
        schedules=tuple((row, m.adapt) for row, m, _, _ in rows if isinstance(m.adapt, ByPosition)),
    )
    return made if adapt is not None else replace(made, fixed=made.settings(None))


def _scale(mix: Mix) -> float:
    return mix.adapt.scale if isinstance(mix.adapt, ByEntropy | ByDivergence) else 1.0
