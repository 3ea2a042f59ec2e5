"""What a load's samples say: rates, latencies, goodput, and one server over another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from motet_benchmarks.load.bootstrap import interval, percentiles, rates, resamples
from motet_benchmarks.load.client import client_of
from motet_benchmarks.load.plan import NO_TARGETS, Plan, windows
from motet_benchmarks.load.records import (
    METRICS,
    Client,
    Figures,
    Metric,
    Quantiles,
    Ratio,
    Targets,
)
from motet_benchmarks.load.samples import TIMEOUT, Sample

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Figures by name: what each is, and in every resample.
Drawn = Mapping[str, "tuple[float, NDArray[Any]]"]

PERCENTS = (50, 90, 99)
#: Of fewer requests nobody can say whether they take longer than others.
FEW = 10
#: The fewest blocks of a step that are resampled.
BLOCKS = 10
#: Where a sample has each latency.
VALUES: Mapping[Metric, str] = {
    "first token": "first_token",
    "per token": "per_token",
    "end to end": "seconds",
}


@dataclass(frozen=True, slots=True)
class _Part:
    """The samples of one server and member in one step, and where they are."""

    due: list[Sample]
    """Those that were due while it was measured."""
    shares: list[float]
    """Of its window that was over when each was due."""
    blocks: list[int]
    ended: list[Sample]
    """Those whose answer ended then."""


def good(sample: Sample, targets: Targets) -> bool:
    """Whether a request was answered within every target. A target of something that the answer doesn't have is kept.

    A best-of answer or one of a single token has no pace; unstreamed, nothing has a first token, so that only the
    target from end to end can be missed.
    """
    held = (
        (sample.first_token, targets.first_token),
        (sample.per_token, targets.per_token),
        (sample.seconds, targets.end_to_end),
    )
    return sample.answered and all(value is None or limit is None or value <= limit for value, limit in held)


def blocks_of(segments: int) -> int:
    """The blocks of a step that has so many turns, each cut into equally many."""
    return -(-BLOCKS // segments) * segments


class Reckoning:
    """The figures of the whole steps of a plan, from its samples."""

    def __init__(
        self,
        plan: Plan,
        servers: Sequence[str],
        members: Sequence[str],
        samples: Sequence[Sample],
        steps: int,
    ) -> None:
        """`servers` in their order, the first to be compared with; `steps` from the first that are over."""
        self._plan, self._servers, self._steps = plan, list(servers), range(steps)
        self._members: list[str | None] = [None, *(members if len(members) > 1 else ())]
        self._windows = {step: windows(plan, step) for step in self._steps}
        self._targeted = plan.targets != NO_TARGETS
        self._by_server = {name: [one for one in samples if one.server == name] for name in servers}
        self._cuts = blocks_of(plan.segments) // plan.segments
        self._known: dict[tuple[int, str, str | None], Drawn] = {}

    def figures(self) -> tuple[Figures, ...]:
        """Every step, server and member, after all members together."""
        return tuple(
            self._figures(step, server, member)
            for step in self._steps
            for server in self._servers
            for member in self._members
        )

    def ratios(self) -> tuple[Ratio, ...]:
        """Goodput and latencies of every further server over the first one's, all members together and one by one."""
        first, *others = self._servers
        found = []
        for step in self._steps:
            for server in others:
                for member in self._members:
                    here = self._drawn(step, first, member)
                    for figure, (value, drawn) in self._drawn(step, server, member).items():
                        if figure not in here or not here[figure][0]:
                            continue
                        below, below_drawn = here[figure]
                        below_drawn = below_drawn.copy()
                        below_drawn[below_drawn == 0] = float("nan")
                        ratio = interval(value / below, drawn / below_drawn)
                        if ratio is not None:
                            found.append(
                                Ratio(step=step, server=server, member=member, figure=figure, ratio=ratio)
                            )
        return tuple(found)

    def clients(self) -> tuple[Client, ...]:
        """How well the client kept its times, by step and server."""
        return tuple(
            client_of(
                step,
                server,
                self._part(step, server, None).due,
                max_open=self._plan.max_open,
                around=self._by_server[server],
                windows=self._windows[step],
            )
            for step in self._steps
            for server in self._servers
        )

    def _figures(self, step: int, server: str, member: str | None) -> Figures:
        part = self._part(step, server, member)
        seconds = self._plan.step_seconds
        answered = [sample for sample in part.due if sample.answered]
        drawn = self._drawn(step, server, member)
        goodput = drawn.get("goodput")
        latency = {}
        for metric in METRICS:
            found = [
                interval(*drawn[f"{metric} p{percent}"])
                for percent in PERCENTS
                if f"{metric} p{percent}" in drawn
            ]
            whole = [each for each in found if each is not None]
            if len(whole) == len(PERCENTS):
                count = sum(getattr(sample, VALUES[metric]) is not None for sample in answered)
                latency[metric] = Quantiles(count=count, p50=whole[0], p90=whole[1], p99=whole[2])
        return Figures(
            step=step,
            server=server,
            member=member,
            requests=len(part.due),
            answered=len(answered),
            failures=dict(sorted(Counter(one.outcome for one in part.due if not one.answered).items())),
            offered=len(part.due) / seconds,
            completed=len(part.ended) / seconds,
            tokens=sum(sample.tokens for sample in part.ended) / seconds,
            answer_tokens=sum(sample.tokens for sample in answered) / len(answered) if answered else None,
            goodput=interval(*goodput) if goodput else None,
            good=sum(good(sample, self._plan.targets) for sample in part.due) if self._targeted else None,
            latency=latency,
            growth=self._growth(step, part),
        )

    def _growth(self, step: int, part: _Part) -> float | None:
        """How much longer the last requests of a constant rate took than the first, as a ratio of medians."""
        if self._plan.ramp or self._plan.steps[step].rate is None:
            return None
        settled = [
            (share, sample.seconds)
            for share, sample in zip(part.shares, part.due, strict=True)
            if sample.answered or sample.outcome == TIMEOUT
        ]
        first = [seconds for share, seconds in settled if share < 1 / 3]
        last = [seconds for share, seconds in settled if share >= 2 / 3]
        if min(len(first), len(last)) < FEW or not median(first):
            return None
        return median(last) / median(first)

    def _drawn(self, step: int, server: str, member: str | None) -> Drawn:
        """Each figure by its name, with what it is in every resample of the step's blocks."""
        key = step, server, member
        if key not in self._known:
            self._known[key] = dict(self._resampled(self._part(step, server, member), step))
        return self._known[key]

    def _resampled(self, part: _Part, step: int) -> Iterator[tuple[str, tuple[float, NDArray[Any]]]]:
        blocks = len(self._windows[step]) * self._cuts
        drawn = resamples(blocks, self._plan.seed)
        if self._targeted:
            counts = [0.0] * blocks
            for sample, block in zip(part.due, part.blocks, strict=True):
                counts[block] += good(sample, self._plan.targets)
            yield "goodput", rates(counts, self._plan.step_seconds / blocks, drawn)
        for metric in METRICS:
            known = [
                (value, block)
                for sample, block in zip(part.due, part.blocks, strict=True)
                if sample.answered and (value := getattr(sample, VALUES[metric])) is not None
            ]
            if known:
                values, places = zip(*known, strict=True)
                here, each = percentiles(values, places, drawn, PERCENTS)
                for place, percent in enumerate(PERCENTS):
                    yield f"{metric} p{percent}", (float(here[place]), each[:, place])

    def _part(self, step: int, server: str, member: str | None) -> _Part:
        part = _Part([], [], [], [])
        for sample in self._by_server[server]:
            if member is not None and sample.member != member:
                continue
            for place, window in enumerate(self._windows[step]):
                if sample.turn != window.turn:
                    continue
                if window.begin <= sample.due < window.end:
                    part.due.append(sample)
                    share = (sample.due - window.begin) / (window.end - window.begin)
                    part.shares.append(share)
                    part.blocks.append(place * self._cuts + min(self._cuts - 1, int(share * self._cuts)))
                if sample.answered and window.begin <= sample.end < window.end:
                    part.ended.append(sample)
        return part
