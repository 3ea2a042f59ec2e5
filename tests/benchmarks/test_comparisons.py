"""Tests and intervals of differences against what is known of made-up answers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from motet_benchmarks.comparisons import (
    BETTER,
    LEVEL,
    NO_DIFFERENCE,
    SHUFFLE,
    SIGN_FLIP,
    WORSE,
    corrected,
    paired,
    unpaired,
)
from motet_benchmarks.statistics import difference

#: Of simulations; of 95% the standard error is 0.7%.
RUNS = 1_000


def answers(rng: np.random.Generator, problems: int, *shares: float) -> list[list[float]]:
    """0 or 1 for each problem by ways to answer that are right in those shares, harder problems being hard for all."""
    hardness = rng.random(problems)
    # Half of what decides is the problem's, half each way's own luck.
    return [
        [float(value) for value in (np.where(rng.random(problems) < 0.5, hardness, rng.random(problems)) < share)]
        for share in shares
    ]  # fmt: skip


def draws(rng: np.random.Generator, problems: int, *shares: float) -> list[list[float]]:
    """The mean of four answers to each problem."""
    each = [answers(rng, problems, *shares) for _ in range(4)]
    return [list(map(float, np.mean(way, axis=0))) for way in zip(*each, strict=True)]


@pytest.mark.parametrize(("make", "shares"), [(answers, False), (draws, True), (draws, False)])
@pytest.mark.parametrize("problems", [10, 80])
def test_intervals_hold_the_true_difference_in_95_of_100_runs(make, shares, problems):
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(RUNS):
        found = difference(*make(rng, problems, 0.6, 0.5), shares=shares)
        held += found.low <= 0.1 <= found.high
    assert held / RUNS > 0.93


def test_equal_ways_are_called_different_by_mcnemar_no_more_often_than_stated():
    # Of all ways in which 40 problems can come out between two that are right in half of them, half of those by luck.
    gains, losses = np.meshgrid(range(41), range(41))
    possible = (gains + losses) <= 40
    gains, losses = gains[possible], losses[possible]
    p = [
        paired([1.0] * won + [0.0] * (40 - won), [0.0] * won + [1.0] * lost + [0.0] * (40 - won - lost)).p
        for won, lost in zip(gains.tolist(), losses.tolist(), strict=True)
    ]
    ties = 40 - gains - losses
    chance = stats.multinomial.pmf(np.array([gains, losses, ties]).T, 40, [0.25, 0.25, 0.5])
    assert 0.01 < chance[np.array(p) <= LEVEL].sum() <= LEVEL


def test_equal_ways_are_called_different_by_sign_flips_no_more_often_than_stated():
    rng = np.random.default_rng(3)
    tests = [paired(*draws(rng, 8, 0.5, 0.5)) for _ in range(RUNS)]
    assert {test.test for test in tests} == {SIGN_FLIP}
    assert sum(test.p <= LEVEL for test in tests) / RUNS < LEVEL + 0.01


def test_a_set_of_equal_ways_has_a_false_verdict_in_no_more_than_5_of_100_runs():
    rng = np.random.default_rng(4)
    uncorrected, wrong, runs = 0, 0, 200
    for _ in range(runs):
        first, *others = answers(rng, 60, *[0.5] * 9)
        tests = [paired(other, first) for other in others]
        uncorrected += any(test.p <= LEVEL for test in tests)
        wrong += any(found.verdict != NO_DIFFERENCE for found in corrected(tests))
    assert wrong / runs <= LEVEL + 0.02
    assert uncorrected > 2 * wrong  # which is what the correction is for


def test_what_is_worse_or_better_is_found_among_many_that_are_equal():
    first, worse, better, *equal = answers(np.random.default_rng(5), 200, 0.5, 0.3, 0.7, *[0.5] * 8)
    found = corrected([paired(way, first) for way in (worse, better, *equal)])
    assert [each.verdict for each in found[:2]] == [WORSE, BETTER]
    assert {each.verdict for each in found[2:]} == {NO_DIFFERENCE}


def test_mcnemar_counts_only_the_problems_on_which_the_two_differ():
    # 9 gains and 1 loss: twice the chance of at most one head in ten tosses, (1 + 10) / 1024.
    found = paired([1.0] * 9 + [0.0] + [1.0] * 50, [0.0] * 9 + [1.0] + [1.0] * 50)
    assert (found.difference.gains, found.difference.losses) == (9, 1)
    assert found.p == pytest.approx(22 / 1024)


def test_sign_flips_of_few_problems_are_all_gone_through():
    # Of 2^4 ways to sign the differences, two lie as far from 0 as the one found.
    found = paired([0.9, 0.8, 0.7, 0.6, 0.5], [0.1, 0.2, 0.3, 0.1, 0.5])
    assert (found.test, found.p) == (SIGN_FLIP, pytest.approx(2 / 16))


def test_the_correction_is_benjamini_and_hochbergs():
    # By hand: p_i * 4 / i from the smallest on, then no larger than any that follows.
    tests = [paired([1.0] * gains + [0.0] * (20 - gains), [0.0] * 20) for gains in (8, 6, 3, 0)]
    p = [2 / 2**8, 2 / 2**6, 2 / 2**3, 1.0]
    assert [test.p for test in tests] == pytest.approx(p)
    assert [each.corrected for each in corrected(tests)] == pytest.approx(
        [p[0] * 4, p[1] * 2, p[2] * 4 / 3, 1.0]
    )


def test_equal_answers_are_no_difference():
    for found in (
        paired([1.0, 0.0], [1.0, 0.0]),
        paired([0.5, 0.25], [0.5, 0.25]),
        unpaired([1.0], [1.0, 1.0]),
    ):
        assert (found.p, found.difference.value) == (1.0, 0.0)
        assert corrected([found])[0].verdict == NO_DIFFERENCE


def test_unpaired_runs_that_differ_in_every_figure():
    found = unpaired([1.0] * 30, [0.0] * 20)
    assert found.test == SHUFFLE
    assert found.p < 0.001
    assert 0.8 < found.difference.low < found.difference.high == 1.0


def test_unpaired_figures_that_are_no_shares_have_welchs_interval():
    one, other = [3.0, 5.0, 4.0], [9.0, 1.0, 7.0, 8.0]
    bounds = stats.ttest_ind(one, other, equal_var=False).confidence_interval(0.95)
    found = unpaired(one, other).difference
    assert (found.low, found.high) == pytest.approx((bounds.low, bounds.high))


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match="paired"):
        paired([1.0], [1.0, 0.0])
    with pytest.raises(ValueError, match="at least one"):
        unpaired([], [1.0])
    assert corrected([]) == []
