"""How few rows of the context hold a set of texts, each whole."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence

from motet_alignment.errors import DataError


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
