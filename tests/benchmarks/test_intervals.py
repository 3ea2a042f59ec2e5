"""How often intervals hold what is true, in theory where it can be counted and else over many made-up runs."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from scipy import stats

from motet_benchmarks.intervals import NOTHING, of_figures, of_others, of_pairs, of_share, of_shares

SHARES = (0.5, 0.8, 0.95, 0.99)

#: Made-up runs of each case; of 95% the standard error is half a percent.
RUNS = 2_000


def held(bounds: np.ndarray, truth: float) -> np.ndarray:
    return (bounds[:, 0] <= truth + 1e-12) & (truth <= bounds[:, 1] + 1e-12)


def drawn(
    rng: np.random.Generator, problems: int, share: float, draws: int, common: np.ndarray
) -> np.ndarray:
    """Shares of right draws, [runs, problems]; half of what decides a draw is common to all draws of its problem."""
    shape = (*common.shape, draws)
    luck = np.where(rng.random(shape) < 0.5, common[..., None], rng.random(shape))
    return (luck < share).mean(axis=-1)


@pytest.mark.parametrize("problems", [2, 5, 10, 20, 40, 80])
def test_the_interval_of_right_and_wrong_pairs_holds_the_truth_93_times_in_100(problems):
    counts = [
        (gains, losses)
        for gains, losses in product(range(problems + 1), repeat=2)
        if gains + losses <= problems
    ]
    bounds = np.array([of_pairs(*each, problems) for each in counts])
    assert (bounds[:, 1] - bounds[:, 0]).min() > 0
    rows = np.array([(gains, losses, problems - gains - losses) for gains, losses in counts])
    for share, apart, together in product(SHARES, (0, 0.03, 0.1, 0.3), (0, 0.3, 0.6, 0.9)):
        other = share - apart
        both = share * other + together * min(share * (1 - other), other * (1 - share))
        gain, loss = share - both, other - both
        chance = stats.multinomial.pmf(rows, problems, [gain, loss, 1 - gain - loss])
        coverage = chance[held(bounds, apart)].sum()
        assert coverage > 0.93, (share, apart, together)


@pytest.mark.parametrize(("problems", "paired"), [(2, True), (5, True), (5, False), (20, True), (20, False)])
def test_the_interval_of_shares_of_draws_holds_the_truth_93_times_in_100(problems, paired):
    rng = np.random.default_rng(1)
    for share, apart, draws in ((0.5, 0.1, 2), (0.95, 0, 4), (0.99, 0.04, 4)):
        common = rng.random((2, RUNS, problems))
        first = drawn(rng, problems, share, draws, common[0])
        second = drawn(rng, problems, share - apart, draws, common[0 if paired else 1])
        bounds = np.array([of_shares(*both, paired=paired) for both in zip(first, second, strict=True)])
        assert (bounds[:, 1] - bounds[:, 0]).min() > 0
        assert held(bounds, apart).mean() > 0.93, (share, apart, draws)


def test_the_interval_of_different_problems_holds_the_truth_93_times_in_100():
    for here, there in ((5, 8), (20, 20), (40, 30)):
        grid = list(product(range(here + 1), range(there + 1)))
        zeros_and_ones = [
            ([1.0] * one + [0.0] * (here - one), [1.0] * other + [0.0] * (there - other))
            for one, other in grid
        ]
        bounds = np.array([of_shares(*both, paired=False) for both in zeros_and_ones])
        for share, apart in product(SHARES, (0, 0.03, 0.3)):
            chance = stats.binom.pmf([one for one, _ in grid], here, share)
            chance *= stats.binom.pmf([other for _, other in grid], there, share - apart)
            assert chance[held(bounds, apart)].sum() > 0.92, (here, share, apart)


@pytest.mark.parametrize(("right", "of"), [(0, 1), (3, 10), (10, 10), (57, 100)])
def test_a_share_of_zeros_and_ones_has_wilsons_interval(right, of):
    theirs = stats.binomtest(right, of).proportion_ci(0.95, "wilson")
    assert of_share([1.0] * right + [0.0] * (of - right)) == pytest.approx(
        (theirs.low, theirs.high), abs=1e-12
    )


@pytest.mark.parametrize("problems", [5, 20, 80])
def test_the_interval_of_a_share_of_draws_holds_the_truth_91_times_in_100_and_95_on_average(problems):
    # As Wilson's own does, which near 1 is as coarse for few problems.
    rng = np.random.default_rng(2)
    coverage = []
    for share, draws in product(SHARES, (2, 8)):
        values = drawn(rng, problems, share, draws, rng.random((RUNS, problems)))
        coverage.append(held(np.array([of_share(each) for each in values]), share).mean())
    assert min(coverage) > 0.91
    assert np.mean(coverage) > 0.945


def test_draws_that_agree_leave_some_doubt_and_more_draws_less_than_one():
    low, high = of_share([1.0] * 20)
    assert (low, high) == (pytest.approx(0.839, abs=1e-3), pytest.approx(1.0))
    low, high = of_share([0.75] * 20)
    assert 0.6 < low < 0.75 < 0.8 < high < 0.9
    spread = [0.5, 0.75, 0.25, 1.0, 0.5, 0.75, 0.5, 0.25, 0.5, 0.75] * 4
    low, high = of_share(spread)
    whole = of_share([1.0] * 23 + [0.0] * 17)  # the same mean, right or wrong once
    assert high - low < 0.7 * (whole[1] - whole[0])


@pytest.mark.parametrize("problems", [2, 5, 20, 80])
def test_the_interval_of_any_paired_figures_holds_the_truth_93_times_in_100(problems):
    rng = np.random.default_rng(3)
    size = rng.lognormal(0, 0.5, (RUNS, problems))
    for spread, apart in ((0.3, 1.3), (1.0, 1.0)):
        first, second = (size * rng.lognormal(0, spread, (RUNS, problems)) for _ in range(2))
        truth = (1 - apart) * math.exp(0.5**2 / 2 + spread**2 / 2)
        bounds = np.array([of_figures(*both) for both in zip(first, apart * second, strict=True)])
        assert held(bounds, truth).mean() > 0.93, (spread, apart)


@pytest.mark.parametrize("problems", [5, 20, 80])
def test_figures_that_go_together_have_students_interval(problems):
    rng = np.random.default_rng(4)
    each = rng.normal(100, 30, (RUNS, problems))
    other = each + rng.normal(1, 2, (RUNS, problems))
    bounds = np.array([of_figures(*both) for both in zip(other, each, strict=True)])
    assert 0.93 < held(bounds, 1.0).mean() < 0.97
    reach = stats.t.ppf(0.975, problems - 1) * 2 / math.sqrt(problems)
    assert np.mean(bounds[:, 1] - bounds[:, 0]) < 2.1 * reach


def test_figures_that_all_differ_alike_leave_some_doubt():
    low, high = of_figures([3.0, 5.0, 9.0, 4.0], [2.0, 4.0, 8.0, 3.0])
    assert low < 0 < 1 < high
    many = list(range(400))
    low, high = of_figures([each + 1.0 for each in many], many)
    assert 0 < low < 1 < high


def test_of_one_problem_and_of_figures_that_never_vary_nothing_is_known():
    assert of_figures([3.0], [2.0]) == NOTHING
    assert of_figures([3.0, 3.0], [2.0, 2.0]) == NOTHING
    assert of_others([3.0], [2.0, 1.0]) == NOTHING
    assert of_others([3.0, 3.0], [2.0, 2.0]) == NOTHING


def test_the_interval_of_any_figures_of_different_problems_holds_the_truth():
    rng = np.random.default_rng(4)
    first, second = rng.normal(5, 1, (RUNS, 5)), rng.normal(4, 3, (RUNS, 9))
    bounds = np.array([of_others(*both) for both in zip(first, second, strict=True)])
    assert held(bounds, 1).mean() > 0.93
