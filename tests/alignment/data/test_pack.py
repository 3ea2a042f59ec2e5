"""Bins lose no example, split none, and are few."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from motet_alignment.data.pack import bins
from motet_alignment.errors import DataError


@given(some.lists(some.integers(1, 20), max_size=60))
def test_bins_hold_every_example_once_and_none_is_too_full(lengths):
    groups = bins(lengths, 20)
    assert sorted(place for group in groups for place in group) == list(range(len(lengths)))
    sums = [sum(lengths[place] for place in group) for group in groups]
    assert all(total <= 20 for total in sums)
    # No two bins would have fitted into one, as first-fit and best-fit promise.
    assert all(one + other > 20 for place, one in enumerate(sums) for other in sums[:place])


def test_bins_fill_as_best_fit_does():
    assert bins([4, 8, 1, 4, 2, 1], 10) == [[1, 4], [0, 2, 3, 5]]
    assert bins([], 10) == []
    with pytest.raises(DataError, match="example 2 has 11 tokens and does not fit into 10"):
        bins([1, 11], 10)
