"""The gym's questions in every setting: each once, recommendations from the validation split alone."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from motet_benchmarks import gym
from motet_benchmarks.endpoint import Endpoint
from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.testing import running
from motet_benchmarks.voices.asking import PLAIN, Answered, Questions, questions_of
from motet_benchmarks.voices.figures import families, lines, recommended, tallies, verdict
from motet_benchmarks.voices.plan import Plan
from motet_benchmarks.voices.series import SFT, Series, Setting
from motet_benchmarks.voices.testing import VoicesFake
from motet_decoding.contrast import Formula

FAMILIES = ("addition", "backwards")


def setting(strength: float, **more: Any) -> Setting:
    return Setting(SFT, "base", Formula(strength=strength, **more))


SWEPT = Series("swept", {"s = 0": setting(0.0), "s = 1": setting(1.0), "s = 2": setting(2.0)}, FAMILIES)
ADAPTED = Series(
    "adapted",
    {"s = 1": setting(1.0), "by entropy": setting(1.0, adapt={"by": "entropy"})},
    FAMILIES,
    chosen=False,
    fixed="s = 1",
)
PLAN = Plan(count=2, tuning=1, worked=1, series=(SWEPT, ADAPTED), concurrency=3)


def fake_of(**more: Any) -> VoicesFake:
    problems = [
        *PLAN.problems("test", FAMILIES),
        *PLAN.problems("validation", FAMILIES),
        *PLAN.stepwise(),
    ]
    return VoicesFake(problems=problems, **more)


def answered(fake: VoicesFake, plan: Plan = PLAN) -> Answered:
    done: list[None] = []

    async def ask() -> Answered:
        async with Endpoint(fake.url) as endpoint:
            return await Questions(plan, endpoint, lambda: done.append(None)).ask()

    with running(fake):
        found = asyncio.run(ask())
    assert len(done) == len(fake.bodies) - len(found.refused)
    return found


def strength(body: dict[str, Any]) -> float | None:
    return body["contrast"]["strength"] if "contrast" in body else None


def test_each_question_is_asked_once_and_the_best_on_the_validation_split_is_chosen():
    held_out = {str(problem.messages()) for problem in PLAN.problems("validation", FAMILIES)}

    def knows(problem: gym.Instance, body: dict[str, Any]) -> bool:
        # On the test split strength 1 is best, which nobody may choose by.
        best = 2.0 if str(problem.messages()) in held_out else 1.0
        return strength(body) == best

    fake = fake_of(knows=knows, gathers=3)
    found = answered(fake)
    asked = [str(sorted(body.items())) for body in fake.bodies]
    assert len(set(asked)) == len(asked)
    assert fake.busiest == 3
    assert len(asked) == questions_of(PLAN)
    (choice,) = found.choices
    assert (choice.setting, [trial.setting for trial in choice.trials]) == (
        "s = 2",
        [PLAIN, "s = 1", "s = 2"],
    )
    by = {(line.series, line.setting): line for line in lines(found.direct)}
    assert by["swept", "s = 1"].difference.value == 1.0
    assert by["swept", "s = 1"].verdict == "better"
    assert by["swept", "s = 2"].difference.value == 0.0
    assert by["swept", "s = 0"].changed == 0
    over = by["adapted", "by entropy"].over_fixed
    assert over is not None
    assert (over.value, over.gains, over.losses) == (0.0, 0, 0)
    assert by["adapted", "s = 1"].over_fixed is None
    assert [one.setting for one in recommended(found)] == ["s = 2"]
    assert {(one.series, one.setting) for one in found.worked} == {
        ("swept", "s = 2"),
        ("adapted", "s = 1"),
        ("adapted", "by entropy"),
    }


def test_of_equals_the_plain_answer_is_recommended_and_losses_are_told():
    found = answered(fake_of(knows=lambda problem, body: strength(body) != 1.0))
    assert found.choices[0].setting == PLAIN
    assert recommended(found) == []
    worse = next(line for line in lines(found.direct) if line.setting == "s = 1")
    assert (worse.verdict, worse.difference.losses) == ("worse", worse.right.of)
    tally = next(one for one in tallies(found.direct) if one.setting == "s = 1")
    assert (tally.right.right, tally.gains, tally.losses) == (0, 0, tally.plain.right)
    assert [line.family for line in families(found.direct[:1])] == list(FAMILIES)


def test_a_setting_that_is_refused_costs_one_request_and_is_told():
    fake = fake_of(refuses=lambda contrast: "no adapting here" if contrast.get("adapt") else None)
    found = answered(fake)
    assert list(found.refused) == ["adapted, by entropy"]
    assert "refused with 400: no adapting here" in found.refused["adapted, by entropy"]
    refused = [body for body in fake.bodies if "adapt" in body.get("contrast", {})]
    assert len(refused) == 1  # for the direct problems and those with steps together
    assert {one.setting for one in found.direct if one.series == "adapted"} == {"s = 1"}


@pytest.mark.parametrize(
    ("fake", "message"),
    [
        (fake_of(forgets=True), "answered without the contrast"),
        (fake_of(status=500), "refused with 500: the fake is ill"),
        (fake_of(status=404), "refused with 404: the fake is ill"),  # plain answers aren't to be had
    ],
)
def test_a_server_that_cannot_be_measured_ends_the_run(fake: VoicesFake, message: str):
    with pytest.raises(BenchmarkError, match=message):
        answered(fake)


def test_an_interval_that_leaves_nothing_out_is_no_difference():
    found = answered(fake_of(knows=lambda problem, body: True))
    assert {verdict(line.difference) for line in lines(found.direct)} == {"no clear difference"}
