"""Figures from candidates whose worth is known."""

from __future__ import annotations

import random

import pytest

from motet_benchmarks.best_of.candidates import Found, Pool
from motet_benchmarks.best_of.cheaper import Saving, saving
from motet_benchmarks.best_of.figures import families, points
from motet_benchmarks.best_of.plan import DIRECT, LIKELIHOOD, ORACLE, REWARD, VOTE, WEIGHTED, Plan, rejection

PLAN = Plan(n=4, sizes=(1, 2, 4), subsets=20)


def pool(right: list[bool], rewards: list[float], *, greedy: bool = False, family: str = "addition") -> Pool:
    return Pool(
        family=family,
        key="1",
        kind=DIRECT,
        texts=tuple("7" if one else f"Answer: {place}0." for place, one in enumerate(right)),
        tokens=(4,) * len(right),
        right=tuple(right),
        scores={REWARD: tuple(rewards), LIKELIHOOD: (0.0,) * len(right)},
        chosen=max(range(len(right)), key=lambda place: rewards[place]),
        greedy=greedy,
    )


def known(pools: list[Pool]) -> dict[tuple[str, int], float]:
    return {(point.judge, point.n): point.accuracy.value for point in points(DIRECT, pools, PLAN)}


def test_judges_are_worth_what_their_choice_is():
    found = known([pool([False, True, False, True], [0.0, 3.0, 1.0, 2.0])] * 3)
    assert {found[judge, 1] for judge, _ in found} == {0.5}
    assert (found[REWARD, 4], found[ORACLE, 4], found[LIKELIHOOD, 4]) == (1.0, 1.0, 0.0)  # ties: the first
    assert found[REWARD, 2] == pytest.approx(5 / 6)  # all pairs but that of the two wrong ones
    assert (found[VOTE, 4], found[WEIGHTED, 4]) == (1.0, 1.0)


def test_a_reward_that_is_wrong_about_answers_makes_more_of_them_worse():
    found = known([pool([False, True, True, True], [3.0, 0.0, 1.0, 2.0])] * 3)
    assert found[REWARD, 1] == 0.75 > found[REWARD, 2] == 0.5 > found[REWARD, 4] == 0.0
    assert found[VOTE, 4] == 1.0


def test_differences_are_taken_problem_by_problem():
    pools = [pool([True, False, False, False], [1.0, 0.0, 0.0, 0.0], greedy=True) for _ in range(20)]
    best = next(point for point in points(DIRECT, pools, PLAN) if (point.judge, point.n) == (REWARD, 4))
    assert (best.over_one.low, best.over_one.value, best.over_one.high) == (0.75, 0.75, 0.75)
    assert best.over_greedy.value == best.over_greedy.high == 0.0
    assert (best.tokens, best.reward) == (16.0, 1.0)


def test_families_are_told_apart():
    pools = [pool([True] * 4, [0.0] * 4), pool([False] * 4, [0.0] * 4, family="backwards")]
    found = {point.group: point.accuracy.value for point in families(DIRECT, pools, PLAN)}
    assert found == {"direct/addition": 1.0, "direct/backwards": 0.0}


def judged(right: float, tokens: int, *, problems: int = 150) -> Saving:
    """A recipe that is right on so many problems, where full best-of-N is right on 80%."""
    rng = random.Random(0)
    pools = [pool([rng.random() < 0.8] * 4, [0.0] * 4) for _ in range(problems)]
    found = [
        Found(one.right[0] if right == 0.8 else rng.random() < right, tokens, rejected=2) for one in pools
    ]
    return saving(rejection(DIRECT, REWARD, (1, 2), 0.5, LIKELIHOOD, headline=True), pools, found)


def test_the_verdict_wants_the_same_accuracy_for_half_the_tokens():
    same = judged(0.8, 7)
    assert same.verdict == "met"
    assert (same.share.value, same.difference.value, same.rejected) == (7 / 16, 0.0, 2.0)
    assert judged(0.8, 9).verdict == "missed: too many tokens"
    assert judged(0.4, 7).verdict == "missed: less accurate"
    assert judged(0.79, 7, problems=20).verdict == "open: too few problems to tell"


def test_a_recipe_without_the_aim_has_no_verdict():
    pools = [pool([True] * 4, [0.0] * 4)]
    recipe = rejection(DIRECT, REWARD, (1,), 0.5, REWARD)
    assert saving(recipe, pools, [Found(True, 8, 2)]).verdict == ""
    with pytest.raises(ValueError, match="paired"):
        saving(recipe, pools, [])
