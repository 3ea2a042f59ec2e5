"""The estimates against all subsets, one by one, and against drawing again and again."""

from __future__ import annotations

import math
from itertools import combinations
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet_benchmarks.best_of.estimators import best_of, divergence_bound, poll, voted, winning_shares

POOLS = st.lists(st.tuples(st.integers(-2, 2), st.booleans()), min_size=1, max_size=8)


@given(pool=POOLS, data=st.data())
def test_the_estimate_is_the_mean_over_all_subsets_with_ties_to_the_earlier(pool, data):
    scores, values = zip(*pool, strict=True)
    k = data.draw(st.integers(1, len(pool)))
    winners = [
        max(subset, key=lambda place: (scores[place], -place)) for subset in combinations(range(len(pool)), k)
    ]
    assert best_of(scores, values, k) == pytest.approx(fmean(values[winner] for winner in winners))


def test_the_known_formula_in_ascending_order():
    scores, rewards = [0.3, -1.0, 2.0, 0.9], [0.3, -1.0, 2.0, 0.9]
    ascending = sorted(rewards)
    for k in range(1, 5):
        expected = sum(math.comb(i - 1, k - 1) * ascending[i - 1] for i in range(k, 5)) / math.comb(4, k)
        assert best_of(scores, rewards, k) == pytest.approx(expected)


def test_it_has_no_bias():
    """Pools of 8 estimate what the best of 4 fresh ones is worth; 4,000 pools leave a standard error of 0.8 points."""
    rng = np.random.default_rng(0)

    def draw(rows: int, n: int) -> tuple[np.ndarray, np.ndarray]:
        right = rng.random((rows, n)) < 0.4
        return np.round(rng.normal(size=(rows, n)) + right), right

    scores, right = draw(4000, 8)
    estimates = [best_of(row.tolist(), values.tolist(), 4) for row, values in zip(scores, right, strict=True)]
    scores, right = draw(40_000, 4)
    truth = right[np.arange(40_000), scores.argmax(1)].mean()  # argmax takes the first of equals
    assert abs(np.mean(estimates) - truth) < 0.025
    assert abs(np.mean([values[0] for values in right]) - truth) > 0.1  # what the first alone would tell


def test_one_and_all():
    scores, values = [1.0, 3.0, 2.0], [0.0, 1.0, 0.0]
    assert best_of(scores, values, 1) == pytest.approx(1 / 3)
    assert best_of(scores, values, 3) == 1.0
    assert winning_shares(3, 3) == [1.0, 0.0, 0.0]


@pytest.mark.parametrize("k", [0, 4])
def test_no_more_than_there_are(k):
    with pytest.raises(ValueError, match="between 1 and 3"):
        best_of([1.0, 2.0, 3.0], [1.0, 1.0, 1.0], k)
    with pytest.raises(ValueError, match="between 1 and 3"):
        voted(poll(["a", "b", "c"]), [1.0, 1.0, 1.0], k, subsets=3)
    with pytest.raises(ValueError, match="2 values"):
        best_of([1.0, 2.0, 3.0], [1.0, 1.0], 2)


def test_a_vote_over_random_subsets_comes_to_the_mean_over_all_of_them():
    answers = ["7", "8", "7", None, "9", "8", "7"]
    values = [float(answer == "7") for answer in answers]
    hold = poll(answers)
    for k in (2, 3, 5):
        everyone = fmean(values[hold(subset)] for subset in combinations(range(7), k))
        assert voted(hold, values, k, subsets=4000) == pytest.approx(everyone, abs=0.03)
    assert voted(hold, values, 1, subsets=1) == pytest.approx(3 / 7)
    assert voted(hold, values, 7, subsets=1) == 1.0
    assert voted(hold, values, 3, subsets=20) == voted(hold, values, 3, subsets=20)


def test_weights_can_turn_a_vote():
    answers, scores = ["1", "1", "2"], [0.0, 0.0, 5.0]
    assert answers[poll(answers)([0, 1, 2])] == "1"
    assert answers[poll(answers, scores)([0, 1, 2])] == "2"


def test_the_bound_on_the_divergence():
    assert divergence_bound(1) == 0.0
    assert divergence_bound(32) == pytest.approx(2.497, abs=1e-3)
