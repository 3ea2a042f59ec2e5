"""The choice among candidates: the same whatever the order of arrival, ties settled in one way, votes as defined."""

from __future__ import annotations

import math
from collections import defaultdict
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet_decoding.best_of.request import Vote
from motet_decoding.best_of.select import group_weights, ranked, vote, vote_weights

NUMBERS = st.floats(-50, 50, allow_nan=False).map(lambda value: round(value, 2))
SCORES = st.lists(NUMBERS, min_size=1, max_size=12)
BALLOTS = st.lists(
    st.tuples(st.sampled_from(["1", "2", "3", None]), st.integers(-3, 3), st.integers(-3, 3)),
    min_size=1,
    max_size=10,
)


def unzip(ballots):
    answers, weights, scores = (list(each) for each in zip(*ballots, strict=True))
    return answers, [float(weight) for weight in weights], [float(score) for score in scores]


def test_the_best_comes_first_and_of_equals_the_lower_position():
    assert ranked([1.0, 3.0, 2.0, 3.0, -1.0]) == [1, 3, 2, 0, 4]
    assert ranked([]) == []


@given(st.permutations(list(enumerate([4.0, 4.0, 1.0, 0.0, 4.0, 1.0]))))
def test_scores_that_come_in_another_order_choose_the_same(arrivals):
    scores = [0.0] * len(arrivals)
    for index, score in arrivals:
        scores[index] = score
    assert ranked(scores) == [0, 1, 4, 2, 5, 3]


@given(BALLOTS)
def test_a_vote_agrees_with_its_definition(ballots):
    answers, weights, scores = unzip(ballots)
    order = vote(answers, weights, scores)
    assert sorted(order) == list(range(len(answers)))

    def best_of(answer):
        return max(
            (i for i in order if answers[i] == answer), key=lambda i: (scores[i], -i)
        )  # one representative

    total: dict[str, Fraction] = defaultdict(Fraction)
    for answer, weight in zip(answers, weights, strict=True):
        if answer is not None:
            total[answer] += Fraction(weight)
    expected = sorted(
        total, key=lambda answer: (-total[answer], -scores[best_of(answer)], answers.index(answer))
    )
    assert order[: len(total)] == [best_of(answer) for answer in expected]
    silent = [i for i in order if answers[i] is None]
    assert order[len(order) - len(silent) :] == silent
    assert silent == sorted(silent, key=lambda i: (-scores[i], i))
    middle = order[len(total) : len(order) - len(silent)]
    assert middle == sorted(middle, key=lambda i: (expected.index(answers[i]), -scores[i], i))


def test_ties_of_a_vote_are_settled_by_the_best_score_and_then_by_the_first_position():
    assert vote(["a", "b", "a", "b"], [1.0] * 4, [0.0, 5.0, 1.0, 2.0]) == [1, 2, 3, 0]
    assert vote(["b", "a", "a", "b"], [1.0] * 4, [2.0] * 4) == [0, 1, 3, 2]
    assert vote([None, None], [1.0, 1.0], [1.0, 2.0]) == [1, 0]


def test_totals_do_not_depend_on_the_order_in_which_they_are_added():
    # 0.1 + 0.2 + 0.3 and 0.3 + 0.2 + 0.1 differ in their last bit; here they must tie, and "b" has the better score.
    answers, weights = ["a", "a", "a", "b", "b", "b"], [0.1, 0.2, 0.3, 0.3, 0.2, 0.1]
    assert vote(answers, weights, [0.0, 0.0, 0.0, 0.0, 0.0, 1.0])[0] == 5
    assert group_weights(["a", None, "a", "b"], [0.25, 9.0, 0.5, 1.0]) == [0.75, None, 0.75, 1.0]


@given(SCORES, st.floats(-100, 100))
def test_a_softmax_does_not_change_under_a_shift(scores, shift):
    weights = vote_weights(scores, Vote(weights="softmax"))
    assert math.fsum(weights) == pytest.approx(1)
    assert vote_weights([score + shift for score in scores], Vote(weights="softmax")) == pytest.approx(
        weights, abs=1e-12
    )


def test_a_softmax_of_far_apart_scores_stays_finite():
    assert vote_weights([-1e300, 1e300, 1e300], Vote()) == [0.0, 0.5, 0.5]
    assert vote_weights([], Vote()) == []


@given(SCORES, st.sampled_from([0.0, 0.5, 1.0, 2.0]))
def test_borda_does_not_change_under_a_map_that_keeps_the_order(scores, power):
    mapped = [100 * score**3 + score for score in scores]
    settings = Vote(weights="borda", power=power)
    assert vote_weights(mapped, settings) == vote_weights(scores, settings)


def test_borda_is_what_the_paper_says_and_equals_weigh_the_same():
    assert vote_weights([0.1, 3.0, 2.0, -1.0], Vote(weights="borda", power=2.0)) == [4.0, 16.0, 9.0, 1.0]
    assert vote_weights([1.0, 1.0, 0.0], Vote(weights="borda")) == [2.5, 2.5, 1.0]
    assert vote_weights([5.0, 1.0], Vote(weights="borda", power=0.0)) == [1.0, 1.0]


@given(SCORES)
def test_sigmoids_rise_with_the_score_and_mirror_each_other(scores):
    settings = Vote(weights="sigmoid")
    weights = vote_weights(scores, settings)
    assert all(0 < weight < 1 or abs(score) > 36 for weight, score in zip(weights, scores, strict=True))
    assert [weights[i] for i in ranked(scores)] == sorted(weights, reverse=True)
    mirrored = vote_weights([-score for score in scores], settings)
    assert [a + b for a, b in zip(weights, mirrored, strict=True)] == pytest.approx([1.0] * len(scores))


def test_sigmoids_of_extreme_scores_and_scores_themselves():
    assert vote_weights([-1e9, 0.0, 1e9], Vote(weights="sigmoid")) == [0.0, 0.5, 1.0]
    assert vote_weights([-1.5, 2.0], Vote(weights="score")) == [-1.5, 2.0]
