from __future__ import annotations

import numpy as np
import pytest

from motet_benchmarks.statistics import (
    difference,
    mean,
    means,
    median,
    percentiles,
    ratio,
    ratio_of_sums,
    share,
)


def test_median_of_known_values():
    found = median([3.0, 1.0, 2.0, 5.0, 4.0])
    assert found.value == 3.0
    assert 1.0 <= found.low < 3.0 < found.high <= 5.0
    assert median([3.0, 1.0, 2.0, 5.0, 4.0]) == found


def test_interval_of_the_median_covers_as_often_as_it_says():
    # 300 runs of 15 rounds with a known true median; 95% coverage has a standard error of 1.3% here.
    rng = np.random.default_rng(1)
    covered = 0
    for seed in range(300):
        found = median(list(rng.lognormal(0.0, 0.2, size=15)), seed=seed)
        covered += found.low <= 1.0 <= found.high
    assert 0.91 <= covered / 300 <= 0.985


def test_the_interval_narrows_with_more_rounds():
    rng = np.random.default_rng(2)
    few, many = (median(list(rng.normal(1.0, 0.1, size=size))) for size in (10, 1000))
    assert many.high - many.low < 0.3 * (few.high - few.low)


def test_rounds_that_agree_leave_no_doubt():
    found = median([2.0, 2.0, 2.0])
    assert (found.value, found.low, found.high) == (2.0, 2.0, 2.0)


def test_the_ratio_pairs_the_rounds():
    # The machine slows down threefold, but the two stay in proportion: paired, nothing of it is seen.
    found = ratio([300.0, 200.0, 100.0], [150.0, 100.0, 50.0])
    assert (found.value, found.low, found.high) == (2.0, 2.0, 2.0)


@pytest.mark.parametrize(
    ("above", "below", "message"),
    [([1.0], [1.0, 2.0], "got 1 and 2"), ([], [], "at least one"), ([1.0], [0.0], "positive")],
)
def test_ratio_refuses(above: list[float], below: list[float], message: str):
    with pytest.raises(ValueError, match=message):
        ratio(above, below)


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
    assert same.value == 0.0
    assert -0.05 < same.low < 0.0 < same.high < 0.05
    assert crossed.value == 0.0
    assert crossed.low < -0.1 < 0.1 < crossed.high


@pytest.mark.parametrize("pairs", [1, 2, 20])
def test_pairs_that_are_all_alike_leave_some_doubt(pairs):
    gained, equal = difference([True] * pairs, [False] * pairs), difference([True] * pairs, [True] * pairs)
    assert (gained.value, gained.gains, equal.value) == (1.0, pairs, 0.0)
    assert gained.low < 0.8 < gained.high == 1.0
    assert equal.low < -0.1 < 0.1 < equal.high


def test_few_gains_and_no_loss_are_no_clear_difference_to_the_interval_either():
    # McNemar's exact p is 0.125 of four, 0.016 of seven.
    none = [0.0] * 20
    assert difference([1.0] * 4 + [0.0] * 16, none).low < 0 < difference([1.0] * 7 + [0.0] * 13, none).low


def test_what_can_be_said_of_a_difference_depends_on_what_figures_can_be():
    first, second = [1.0, 1.0, 0.75, 1.0], [1.0, 0.75, 0.75, 1.0]
    shares, any_figures = difference(first, second, shares=True), difference(first, second)
    assert shares.value == any_figures.value == 0.0625
    assert shares.low > -1
    assert shares.high < 1
    # Milliseconds, say, which no share of right answers is as alike as.
    alike = difference([0.181, 0.182, 0.179, 0.183], [0.171, 0.173, 0.169, 0.172])
    assert 0 < alike.low < 0.01 < alike.high < 0.02


def test_a_mean_has_students_interval_and_none_where_nothing_varies():
    found = mean([1.0, 2.0, 3.0])
    assert (found.value, found.low) == (2.0, pytest.approx(2 - 4.303 / 3**0.5, abs=1e-3))
    assert (mean([2.0]).low, mean([2.0, 2.0]).high) == (2.0, 2.0)


def test_a_bound_of_equal_figures_does_not_lie_inside_their_mean():
    for count in range(5, 60):
        (found,) = means([[4 / 3] * count])
        assert found.low <= found.value <= found.high


def test_unpaired_outcomes_are_refused():
    with pytest.raises(ValueError, match="got 1 and 2"):
        difference([True], [True, False])


def test_means_have_the_intervals_of_normal_theory_and_share_their_resamples():
    values = np.random.default_rng(3).normal(5.0, 2.0, size=400)
    found, shifted, flat = means([values.tolist(), (values + 1).tolist(), [3.0] * 400])
    reach = 1.96 * values.std() / 20
    assert found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - reach, abs=0.02)
    assert found.high == pytest.approx(values.mean() + reach, abs=0.02)
    assert shifted.low == pytest.approx(found.low + 1)
    assert (flat.low, flat.value, flat.high) == (3.0, 3.0, 3.0)
    for columns in ([], [[]], [[1.0], [1.0, 2.0]]):
        with pytest.raises(ValueError, match="as many figures"):
            means(columns)


def test_a_ratio_of_sums_weighs_instances_by_their_size():
    found = ratio_of_sums([1.0] * 50 + [90.0] * 50, [10.0] * 50 + [100.0] * 50)
    assert found.value == pytest.approx(4550 / 5500)
    assert 0.75 < found.low < found.value < found.high < 0.9
    with pytest.raises(ValueError, match="paired"):
        ratio_of_sums([1.0], [])
    with pytest.raises(ValueError, match="positive"):
        ratio_of_sums([1.0], [0.0])


def test_percentiles_of_two_arms_resample_whole_rounds():
    rounds = [([1.0, 2.0, 3.0], [2.0, 4.0, 6.0])] * 4
    first, second, over = percentiles(rounds, 50)
    assert (first.low, first.value, first.high) == (2.0, 2.0, 2.0)
    assert (second.value, over.value) == (4.0, 2.0)
    uneven = [([1.0], [1.0]), ([1.0], [9.0])]
    assert percentiles(uneven, 50)[1].low == 1.0 < percentiles(uneven, 50)[1].high == 9.0
