from __future__ import annotations

import pytest

from motet_benchmarks.toys.evaluate import Outcomes, difference, share


def test_wilson_interval_against_a_hand_computed_one():
    # 8 of 10, z = 1.96: centre (0.8 + z²/20) / (1 + z²/10) = 0.7168, half width 0.2266.
    found = share([True] * 8 + [False] * 2)
    assert (found.right, found.of, found.value) == (8, 10, 0.8)
    assert found.low == pytest.approx(0.4902, abs=1e-4)
    assert found.high == pytest.approx(0.9433, abs=1e-4)


def test_a_share_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        share([])


def test_difference_counts_gains_and_losses_in_pairs():
    first = [True] * 60 + [False] * 40
    second = [True] * 30 + [False] * 30 + [True] * 10 + [False] * 30
    found = difference(first, second)
    assert found.value == pytest.approx(0.2)
    assert (found.gains, found.losses) == (30, 10)
    # Standard error of the mean of 30 ones, 10 minus ones and 60 zeros: sqrt((0.4 - 0.04) / 100) = 0.06.
    assert found.low == pytest.approx(0.2 - 1.96 * 0.06, abs=0.02)
    assert found.high == pytest.approx(0.2 + 1.96 * 0.06, abs=0.02)
    assert difference(first, second) == found


def test_the_pairing_matters():
    # The same two counts of right answers: differing nowhere, or in half of the pairs.
    same = difference([True, False] * 50, [True, False] * 50)
    crossed = difference([True, False] * 50, [False, True] * 50)
    assert (same.low, same.high) == (0.0, 0.0)
    assert crossed.value == 0.0
    assert crossed.low < -0.1 < 0.1 < crossed.high


def test_unpaired_outcomes_are_refused():
    with pytest.raises(ValueError, match="got 1 and 2"):
        difference([True], [True, False])


def test_outcomes_are_told_apart_by_family():
    outcomes = Outcomes(["a", "b", "a"], [True, False, False], [False] * 3, [True, True, True])
    only = outcomes.only("a").line()
    assert (only.expert.right, only.expert.of, only.amateur.right, only.contrast.right) == (1, 2, 0, 2)
    assert (only.against_greedy.gains, only.against_greedy.losses) == (1, 0)
    assert outcomes.line().contrast.right == 3
