"""Several texts in one row of the context, each whole."""

from __future__ import annotations

from collections.abc import Sequence

# Rows that are still looked at for room: enough to fill them, few enough that neighbours stay as the order has them.
_OPEN = 16


def packed(order: Sequence[int], lengths: Sequence[int], size: int) -> list[list[int]]:
    """The places of `order`, first fit into rows of at most `size` tokens; no longer text may be among them.

    A text goes into the first of the latest rows that has room for it. Nothing is sorted, so that a random order
    makes rows of random neighbours.
    """
    rows: list[list[int]] = []
    room: list[int] = []
    for place in order:
        recent = range(max(0, len(rows) - _OPEN), len(rows))
        found = next((row for row in recent if room[row] >= lengths[place]), None)
        if found is None:
            rows.append([])
            room.append(size)
            found = len(rows) - 1
        rows[found].append(place)
        room[found] -= lengths[place]
    return rows
