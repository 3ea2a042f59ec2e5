from __future__ import annotations

import time

import pytest

from motet_benchmarks.endpoint import Endpoint
from motet_benchmarks.serving import lines as ratios
from motet_benchmarks.serving.lines import lines, speeds
from motet_benchmarks.serving.rounds import LOOP, PAIR_CONTRAST, Plan, Rounds, steps_of
from motet_benchmarks.testing import Fake, running

#: Seconds a request takes on each server, whatever its length; far apart, for tests run on busy machines.
PAIR_PLAIN, PAIR_CONTRASTED, EXPERT, AMATEUR, LOOPED = 0.15, 0.3, 0.075, 0.075, 0.75


def _near(measured: float, true: float) -> bool:
    """Within what a busy machine adds to sleeps; swapped or unpaired arms are off by twice and more."""
    return true / 1.7 < measured < true * 1.7


@pytest.mark.anyio
async def test_ratios_of_known_speeds_come_out_right():
    steps = []

    def loop(prompts, tokens):
        time.sleep(LOOPED)
        return ["words" if place else "something else" for place in range(len(prompts))]

    plan = Plan(batches=(4, 8), loop_batch=4, tokens=10, rounds=2)
    with (
        running(Fake(seconds=lambda body: PAIR_CONTRASTED if "contrast" in body else PAIR_PLAIN)) as pair,
        running(Fake(seconds=lambda body: EXPERT)) as expert,
        running(Fake(seconds=lambda body: AMATEUR)) as amateur,
    ):
        async with Endpoint(pair.url) as one, Endpoint(expert.url) as two, Endpoint(amateur.url) as three:
            endpoints = {"pair": one, "expert": two, "amateur": three}
            measured = await Rounds(plan, endpoints, loop, steps.append).measure()

    assert measured.rounds == 2
    assert len(steps) == steps_of(plan, with_loop=True)
    assert (measured.agreeing, measured.compared) == (6, 8)
    assert {sample.round for sample in measured.samples} == {1, 2}

    found = {(line.name, line.batch): line for line in lines(measured.samples)}
    for batch in plan.batches:
        assert _near(found[ratios.PLAIN, batch].ratio.value, EXPERT / PAIR_PLAIN)
        assert _near(found[ratios.CONTRAST, batch].ratio.value, PAIR_PLAIN / PAIR_CONTRASTED)
        assert _near(found[ratios.COST, batch].ratio.value, EXPERT / (EXPERT + AMATEUR))
        assert _near(found[ratios.CONTRAST_OF_COST, batch].ratio.value, 1.0)
    assert _near(found[ratios.LOOP_TOGETHER, 4].ratio.value, LOOPED / PAIR_CONTRASTED)
    # Sixteen arrivals take the server four turns; the loop takes at least as many, and its first batch isn't full.
    assert found[ratios.LOOP_ARRIVING, 4].ratio.value > 1.5
    assert found[ratios.LOOP_TOGETHER, 4].verdict.startswith("met")
    assert found[ratios.PLAIN, 8].verdict.startswith("missed")

    names = {(arm, batch) for _, arm, batch, _ in speeds(measured.samples)}
    assert {(PAIR_CONTRAST, 8), (LOOP, 4)} <= names

    # Every server was asked the same, and the prompts of one round never again.
    plain = [body["prompt"] for body in pair.bodies if "contrast" not in body]
    assert sorted(plain) == sorted(body["prompt"] for body in expert.bodies)
    assert sorted(plain) == sorted(body["prompt"] for body in amateur.bodies)
    assert len(set(plain)) == len(plain) == 3 * (8 + 8)
    assert set(plain) < {body["prompt"] for body in pair.bodies if "contrast" in body}


@pytest.mark.anyio
async def test_no_round_begins_when_time_is_up():
    plan = Plan(batches=(2,), tokens=4, rounds=1000, minutes=0.02)
    with running(Fake(seconds=lambda body: 0.05)) as fake:
        async with Endpoint(fake.url) as endpoint:
            endpoints = dict.fromkeys(("pair", "expert", "amateur"), endpoint)
            measured = await Rounds(plan, endpoints, None, lambda step: None).measure()
    assert 1 <= measured.rounds < 10
    assert {line.name for line in lines(measured.samples)} == {
        ratios.PLAIN,
        ratios.CONTRAST,
        ratios.COST,
        ratios.CONTRAST_OF_COST,
    }


@pytest.mark.anyio
async def test_no_arm_always_comes_first():
    steps: list[str] = []
    plan = Plan(batches=(1,), tokens=1, rounds=2)
    with running(Fake()) as fake:
        async with Endpoint(fake.url) as endpoint:
            endpoints = dict.fromkeys(("pair", "expert", "amateur"), endpoint)
            await Rounds(plan, endpoints, None, steps.append).measure()
    arms = [step.split(": ")[1].split(",")[0] for step in steps]
    assert arms[4:8] == arms[11:7:-1]
    assert len(set(arms[4:8])) == 4
