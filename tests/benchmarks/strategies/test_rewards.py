"""A judge's rewards: as many in one request as wait for it, and none for what it can't read."""

from __future__ import annotations

import asyncio

import pytest

from motet_benchmarks.endpoint import Endpoint, together
from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.strategies.rewards import BATCH, Judge
from motet_benchmarks.strategies.testing import StrategiesFake
from motet_benchmarks.testing import running

QUESTION = [{"role": "user", "content": "Hi"}]


def judged(fake: StrategiesFake, texts: list[str]) -> list[float | None]:
    async def ask() -> list[float | None]:
        async with Endpoint(fake.url) as endpoint:
            judge = Judge(endpoint, "fake-reward")
            return await together([judge.reward(QUESTION, text) for text in texts])

    with running(fake):
        return asyncio.run(ask())


def test_every_answer_gets_its_own_reward_in_few_requests():
    fake = StrategiesFake()
    texts = ["x" * length for length in range(3 * BATCH)]
    assert judged(fake, texts) == [float(length) for length in range(3 * BATCH)]
    assert len(fake.judged) == 4  # the first one goes alone, since nobody waits yet
    assert max(fake.judged) == BATCH


def test_one_answer_that_is_refused_costs_the_others_nothing():
    texts = ["x", "x" * 200, "xxx"]
    assert judged(StrategiesFake(), texts) == [1.0, None, 3.0]


def test_a_judge_that_fails_ends_it():
    with pytest.raises(BenchmarkError, match=r"--judge fake-reward: .*refused with 404: no such reward"):
        judged(StrategiesFake(rewards="another"), ["x", "y"])
