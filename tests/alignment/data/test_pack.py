"""Rows lose no text, split none, and take each where there is room first."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as some

from motet_alignment.data.pack import packed


@given(some.lists(some.integers(1, 20), max_size=60), some.randoms())
def test_rows_hold_every_text_once_and_none_is_too_full(lengths, dice):
    order = list(range(len(lengths)))
    dice.shuffle(order)
    rows = packed(order, lengths, 20)
    assert sorted(place for row in rows for place in row) == list(range(len(lengths)))
    sums = [sum(lengths[place] for place in row) for row in rows]
    assert all(total <= 20 for total in sums)
    # Two neighbours never fit into one: the later one's first text found no room in the one before.
    assert all(one + other > 20 for one, other in pairwise(sums))


def test_a_text_goes_where_there_is_room_first():
    assert packed(range(6), [4, 8, 1, 4, 2, 1], 10) == [[0, 2, 3, 5], [1, 4]]
    assert packed([5, 1, 0], [4, 8, 1, 4, 2, 1], 10) == [[5, 1], [0]]
    assert packed([], [], 10) == []
