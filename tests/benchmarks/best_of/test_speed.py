"""Ways to the best of several, side by side, and plain requests beside many others."""

from __future__ import annotations

import asyncio
from itertools import islice

import pytest

from motet_benchmarks import gym
from motet_benchmarks.best_of.load import BEST_OF, CONTRAST, PLAIN, Load, Reply, loaded
from motet_benchmarks.best_of.plan import Plan
from motet_benchmarks.best_of.scorers import Spent, between, read, spent
from motet_benchmarks.best_of.speed import ARMS, CHOICES, ONE, SEVERAL, Sample, Speed, paces, prompts, ratios
from motet_benchmarks.best_of.testing import BestOfFake
from motet_benchmarks.endpoint import Endpoint
from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.testing import running


def asked(seed: int, count: int) -> list[gym.Instance]:
    """The first problems of a seed, in both wordings: what a fake must know."""
    found = list(islice(gym.stream("test", seed=seed), count))
    return [*found, *(problem.stepwise() for problem in found if problem.steps)]


def test_all_ways_answer_the_same_prompts_in_turn():
    fake = BestOfFake(problems=asked(0, 200))
    told: list[str] = []

    async def run() -> list[Sample]:
        async with Endpoint(fake.url) as endpoint:
            return await Speed(Plan(rounds=2, clients=(2,)), endpoint, told.append).measure()

    with running(fake):
        samples = asyncio.run(run())
    assert [(sample.round, sample.arm) for sample in samples] == [
        *((1, arm) for arm in reversed(ARMS)),
        *((2, arm) for arm in ARMS),
    ]
    assert {(sample.prompts, sample.tokens) for sample in samples} == {(8, 8 * 8 * 4)}
    assert len(told) == 9
    by_way = {
        ONE: [body for body in fake.bodies if "best_of" in body],
        CHOICES: [body for body in fake.bodies if "n" in body],
        SEVERAL: [body for body in fake.bodies if "best_of" not in body and "n" not in body],
    }
    assert {arm: len(bodies) for arm, bodies in by_way.items()} == {ONE: 24, CHOICES: 24, SEVERAL: 8 * 24}
    questions = {arm: {str(body["messages"]) for body in bodies} for arm, bodies in by_way.items()}
    assert questions[ONE] == questions[SEVERAL] == questions[CHOICES]


def raced(pace: float, rounds: int = 8) -> list[Sample]:
    return [
        Sample(4, arm, number, 8, 256, 8.0 / number if arm == ONE else 8.0 * pace / number, 1.0)
        for number in range(1, rounds + 1)
        for arm in ARMS
    ]


@pytest.mark.parametrize(
    ("pace", "rounds", "verdict"),
    [(2.0, 8, "met"), (1.2, 8, "missed"), (2.0, 3, "met, in too few rounds to be sure")],
)
def test_the_ratio_is_of_prompts_a_second_and_paired(pace: float, rounds: int, verdict: str):
    several, choices = ratios(raced(pace, rounds))
    assert several.ratio.low == pytest.approx(pace) == several.ratio.high
    assert (several.over, several.verdict) == (SEVERAL, verdict)
    assert (choices.over, choices.verdict) == (CHOICES, "")
    assert [arm for arm, _, _, _ in paces(raced(pace))] == list(ARMS)


def test_half_of_the_problems_with_steps_show_them():
    texts = [messages[-1]["content"] for messages in islice(prompts(0), 400)]
    worked = sum(gym.SHOW_STEPS in text for text in texts)
    assert 0.1 < worked / 400 < 0.3


def loads(fake: BestOfFake, plan: Plan) -> list[Reply]:
    async def run() -> list[Reply]:
        async with Endpoint(fake.url) as endpoint:
            return await Load(plan, endpoint, lambda step: None, "base").measure()

    fake.problems = asked(1, 1500)
    with running(fake):
        return asyncio.run(run())


def test_plain_requests_are_timed_with_and_without_best_of_beside_them():
    fake = BestOfFake()
    replies = loads(fake, Plan(phases=2, seconds=0.05, load=3))
    assert {reply.kind for reply in replies if reply.beside} == {PLAIN, CONTRAST, BEST_OF}
    assert {reply.kind for reply in replies if not reply.beside} == {PLAIN, CONTRAST}
    assert {reply.round for reply in replies} == {1, 2}
    found = loaded(replies)
    assert (found.verdict, found.lost) == ("met", ())
    assert [latency.percent for latency in found.latencies] == [50, 99]
    assert all(body["model"] == "base" for body in fake.bodies if "contrast" in body)


def test_what_is_lost_is_told():
    found = loaded(loads(BestOfFake(refuses=20), Plan(phases=2, seconds=0.05, load=3)))
    assert found.verdict == "missed"
    assert all("the fake is ill" in problem for problem in found.lost)


def test_percentiles_are_those_of_plain_answers_alone():
    replies = [
        *(
            Reply(PLAIN, 1, beside, 2.0 if beside else 1.0, None)
            for beside in (False, True)
            for _ in range(5)
        ),
        Reply(PLAIN, 1, False, 50.0, "gone"),
        Reply(BEST_OF, 1, True, 90.0, None),
    ]
    found = loaded(replies)
    assert [(each.without.value, each.beside.value, each.ratio.value) for each in found.latencies] == [
        (1.0, 2.0, 2.0)
    ] * 2
    with pytest.raises(ValueError, match="no plain request"):
        loaded([reply for reply in replies if not reply.beside])


def test_scorers_time_is_the_servers_own_and_of_the_time_between():
    fake = BestOfFake(scored={"reward": 2.0, "certainty": 0.5})
    with running(fake):
        found = asyncio.run(spent(fake.url))
    assert found == {"reward": Spent(10.0, 2.0), "certainty": Spent(10.0, 0.5)}
    assert between({"reward": Spent(4.0, 0.5), "certainty": Spent(10.0, 0.5)}, found) == {
        "reward": Spent(6.0, 1.5)
    }
    assert read("nothing of the kind") == {}
    with pytest.raises(BenchmarkError, match="doesn't answer"):
        asyncio.run(spent("http://127.0.0.1:9"))
