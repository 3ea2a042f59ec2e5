"""Several examples in one row, so that a batch holds few filling tokens."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass

from motet_alignment.data.render import Rendered
from motet_alignment.errors import DataError

#: The label of a token that carries no loss, as torch's cross-entropy has it.
IGNORED = -100


@dataclass(frozen=True, slots=True)
class Packed:
    """One row. Positions begin at 0 with each example, by which attention knows where one ends.

    transformers builds the block-diagonal mask from `position_ids` where it is given no `attention_mask` and keeps no
    cache: a model that is called without `use_cache=False` lets one example see another.
    """

    input_ids: list[int]
    position_ids: list[int]
    #: The token itself where it carries loss, else -100; the model shifts them. Never set on an example's first token,
    #: which would be predicted from the example before.
    labels: list[int]

    @property
    def learnt(self) -> int:
        """How many tokens carry loss."""
        return sum(label != IGNORED for label in self.labels)


def pack(rendered: Sequence[Rendered], context: int) -> list[Packed]:
    """The examples in as few rows of at most `context` tokens as best-fit decreasing finds; each stays whole.

    Raises `DataError` for an example that is longer than `context`.
    """
    return [
        _row([rendered[place] for place in bin_])
        for bin_ in bins([len(r.input_ids) for r in rendered], context)
    ]


def bins(lengths: Sequence[int], size: int) -> list[list[int]]:
    """Places of `lengths`, grouped so that each group's sum is at most `size`: best-fit decreasing.

    The longest comes first and goes where the least room is left. Equal input gives equal groups, each in the order
    of its places.
    """
    groups: list[list[int]] = []
    free: list[tuple[int, int]] = []  # (room left, group), ascending
    for place in sorted(range(len(lengths)), key=lambda place: (-lengths[place], place)):
        length = lengths[place]
        if length > size:
            raise DataError(f"example {place + 1} has {length} tokens and does not fit into {size}")
        found = bisect_left(free, (length, -1))
        if found == len(free):
            groups.append([place])
            insort(free, (size - length, len(groups) - 1))
        else:
            room, group = free.pop(found)
            groups[group].append(place)
            insort(free, (room - length, group))
    return [sorted(group) for group in groups]


def _row(examples: Sequence[Rendered]) -> Packed:
    input_ids: list[int] = []
    position_ids: list[int] = []
    labels: list[int] = []
    for example in examples:
        input_ids += example.input_ids
        position_ids += range(len(example.input_ids))
        labels += [
            token if learnt and place else IGNORED
            for place, (token, learnt) in enumerate(zip(example.input_ids, example.assistant, strict=True))
        ]
    return Packed(input_ids, position_ids, labels)
