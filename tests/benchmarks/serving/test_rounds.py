from __future__ import annotations

import time

import pytest

from motet_benchmarks.endpoint import Endpoint
from motet_benchmarks.serving import lines as ratios
from motet_benchmarks.serving.lines import lines, speeds
from motet_benchmarks.serving.rounds import LOOP, PAIR_CONTRAST, Plan, Rounds, steps_of
from motet_benchmarks.testing import Fake, running

#: Seconds a request takes on each server, whatever its length; long, for tests run on busy machines.
PLAIN, CONTRAST, EXPERT, AMATEUR = 0.6, 1.2, 0.3, 0.3


def _near(measured: float, true: float) -> bool:
    """Within what a busy machine adds to sleeps; swapped or unpaired arms are off by twice and more."""
    return true / 1.7 < measured < true * 1.7


@pytest.mark.anyio
async def test_ratios_of_known_speeds_come_out_right():
    steps: list[str] = []
    plan = Plan(batches=(4, 8), tokens=10, rounds=1)
    with (
        running(Fake(seconds=lambda body: CONTRAST if "contrast" in body else PLAIN)) as pair,
        running(Fake(seconds=lambda body: EXPERT)) as expert,
        running(Fake(seconds=lambda body: AMATEUR)) as amateur,
    ):
        async with Endpoint(pair.url) as one, Endpoint(expert.url) as two, Endpoint(amateur.url) as three:
            endpoints = {"pair": one, "expert": two, "amateur": three}
            measured = await Rounds(plan, endpoints, None, steps.append).measure()

    assert len(steps) == steps_of(plan, with_loop=False)
    assert (measured.rounds, measured.compared) == (1, 0)
    found = {(line.name, line.batch): line for line in lines(measured.samples)}
    for batch in plan.batches:
        assert _near(found[ratios.PLAIN, batch].ratio.value, EXPERT / PLAIN)
        assert _near(found[ratios.CONTRAST, batch].ratio.value, PLAIN / CONTRAST)
        assert _near(found[ratios.COST, batch].ratio.value, EXPERT / (EXPERT + AMATEUR))
        assert _near(found[ratios.CONTRAST_OF_COST, batch].ratio.value, 1.0)
        assert found[ratios.PLAIN, batch].verdict.startswith("missed")
    assert {(arm, batch) for _, arm, batch, _ in speeds(measured.samples)} >= {
        (PAIR_CONTRAST, 4),
        (PAIR_CONTRAST, 8),
    }

    # Every server was asked the same, and what was asked in one round never again.
    plain = [body["prompt"] for body in pair.bodies if "contrast" not in body]
    for bodies in (expert.bodies, amateur.bodies, [body for body in pair.bodies if "contrast" in body]):
        assert sorted(body["prompt"] for body in bodies) == sorted(plain)
    assert len(set(plain)) == len(plain) == 2 * (8 + 8)


@pytest.mark.anyio
async def test_the_loop_is_measured_beside_the_server():
    def loop(prompts, tokens):
        time.sleep(0.75)
        return ["words" if place else "something else" for place in range(len(prompts))]

    steps: list[str] = []
    plan = Plan(batches=(), loop_batch=2, tokens=10, rounds=1)
    with running(Fake(seconds=lambda body: 0.3)) as fake:
        async with Endpoint(fake.url) as endpoint:
            endpoints = dict.fromkeys(("pair", "expert", "amateur"), endpoint)
            measured = await Rounds(plan, endpoints, loop, steps.append).measure()
    assert len(steps) == steps_of(plan, with_loop=True)
    assert (measured.agreeing, measured.compared) == (1, 2)
    assert fake.busiest == 2
    assert all(body["contrast"]["strength"] == 0.5 for body in fake.bodies)
    together, arriving, wait = lines(measured.samples)
    assert (together.name, together.batch) == (ratios.LOOP_TOGETHER, 2)
    assert _near(together.ratio.value, 0.75 / 0.3)
    # Eight arrivals take the server four turns; the loop takes at least as many, and its batches aren't always full.
    assert arriving.ratio.value > 1.5
    assert wait.ratio.value > 1.5
    assert {sample.arm for sample in measured.samples} == {PAIR_CONTRAST, LOOP}


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
