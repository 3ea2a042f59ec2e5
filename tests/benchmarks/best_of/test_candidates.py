"""What is asked of a server, and what is read from its answers."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from motet_benchmarks import gym
from motet_benchmarks.best_of.candidates import Pool, pools, tried
from motet_benchmarks.best_of.plan import BLEND, DIRECT, RECIPES, REWARD, TOTAL, WORKED, Plan, rejection
from motet_benchmarks.best_of.testing import BestOfFake
from motet_benchmarks.endpoint import Endpoint
from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.testing import running

FAMILIES = ("addition", "backwards")
PLAN = Plan(count=3, worked=2, n=4, sizes=(1, 2, 4), families=FAMILIES, together=2)


def drawn(fake: BestOfFake, kind: str = DIRECT) -> list[Pool]:
    async def run() -> list[Pool]:
        async with Endpoint(fake.url) as endpoint:
            return await pools(endpoint, PLAN, kind)

    fake.problems = PLAN.problems(kind)
    with running(fake):
        return asyncio.run(run())


def test_one_request_draws_and_judges_all_candidates_of_a_problem():
    fake = BestOfFake()
    found = drawn(fake)
    assert [pool.family for pool in found] == ["addition"] * 3 + ["backwards"] * 3
    asked = [body for body in fake.bodies if "best_of" in body]
    assert (len(asked), len(fake.bodies)) == (6, 12)
    assert all(
        body["best_of"]["by"] == "reward:motet-reward" and body["temperature"] == 1.0 for body in asked
    )
    assert "implicit:motet-dpo" in asked[0]["best_of"]["report"]
    assert len({body["seed"] for body in asked}) == 6
    for pool in found:
        assert len(pool.texts) == 4
        assert pool.scores[REWARD] == tuple(float(right) for right in pool.right)
        assert pool.scores[BLEND] == tuple(
            one + other for one, other in zip(pool.scores[REWARD], pool.scores[TOTAL], strict=True)
        )
        assert pool.right == tuple(text != "wrong" for text in pool.texts)


def test_worked_problems_are_those_with_steps():
    found = drawn(BestOfFake(skill=1.0), WORKED)
    assert [(pool.family, pool.kind) for pool in found] == [("addition", WORKED)] * 2
    assert all(all(pool.right) and pool.greedy for pool in found)
    assert "Answer: " in found[0].texts[0]


def test_an_answer_without_candidates_is_refused():
    with pytest.raises(BenchmarkError, match="without the best_of"):
        drawn(BestOfFake(forgets=True))


def test_an_answer_that_was_not_chosen_is_noticed():
    class Confused(BestOfFake):
        def _told(self, asked, texts, scores, best, rng):  # type: ignore[no-untyped-def]
            told = super()._told(asked, texts, scores, best, rng)
            other = next((place for place, text in enumerate(texts) if text != texts[best]), best)
            return {**told, "choices": [other]}

    with pytest.raises(BenchmarkError, match="isn't the text of candidate"):
        drawn(Confused())


def test_a_recipe_asks_for_its_settings_with_the_same_problems_and_seeds():
    recipe = rejection(DIRECT, BLEND, (1, 2), 0.5, REWARD)
    fake = BestOfFake(problems=PLAN.problems(DIRECT))

    async def run() -> None:
        async with Endpoint(fake.url) as endpoint:
            first = await pools(endpoint, PLAN, DIRECT)
            found = await tried(endpoint, PLAN, recipe)
            assert [one.right for one in found] == [pool.right[pool.chosen] for pool in first]
            assert {(one.tokens, one.rejected) for one in found} == {(12, 2)}

    with running(fake):
        asyncio.run(run())
    plain = [body for body in fake.bodies if "best_of" in body and "reject" not in body["best_of"]]
    cheap = [body for body in fake.bodies if "reject" in body.get("best_of", ())]
    assert cheap[0]["best_of"]["by"] == "reward:motet-reward+likelihood:sum"
    assert cheap[0]["best_of"]["reject"] == {**recipe.settings["reject"], "by": "reward:motet-reward"}
    assert {body["seed"] for body in plain} == {body["seed"] for body in cheap}


def test_a_recipe_for_each_kind_is_what_the_aim_is_held_against():
    assert sorted(recipe.kind for recipe in RECIPES if recipe.headline) == [DIRECT, WORKED]


def test_the_plan_asks_different_problems_of_the_test_split():
    problems = replace(PLAN, count=5, families=None).problems(DIRECT)
    assert all(gym.split_of(problem) == "test" for problem in problems)
    assert len({(problem.family, problem.key) for problem in problems}) == len(problems)
