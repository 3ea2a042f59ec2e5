from __future__ import annotations

import time
from collections.abc import Sequence

import pytest

from motet_benchmarks.endpoint import Endpoint
from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.overhead import lines as ratios
from motet_benchmarks.overhead.lines import lines, speeds
from motet_benchmarks.overhead.rounds import Plan, Rounds, steps_of
from motet_benchmarks.overhead.samples import LOOP, PAIR_CONTRAST, Measured
from motet_benchmarks.testing import Fake, running

#: Seconds a request takes on each server, whatever its length; long, for tests run on busy machines.
PLAIN, CONTRAST, EXPERT = 0.6, 1.2, 0.3


def forward(prompts: Sequence[str], steps: int) -> tuple[float, float]:
    """Models of which the expert takes two thirds of the time."""
    return 2.0 * steps, 1.0 * steps


def ignore(measured: Measured) -> None:
    """What was kept makes no difference."""


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
    ):
        async with Endpoint(pair.url) as one, Endpoint(expert.url) as two:
            endpoints = {"pair": one, "expert": two}
            measured = await Rounds(plan, endpoints, steps.append, forward=forward).measure(ignore)

    assert (measured.rounds, measured.compared, measured.abandoned) == (1, 0, ())
    found = {(line.name, line.batch): line for line in lines(measured.samples)}
    for batch in plan.batches:
        assert _near(found[ratios.PLAIN, batch].ratio.value, EXPERT / PLAIN)
        assert _near(found[ratios.CONTRAST, batch].ratio.value, PLAIN / CONTRAST)
        assert _near(found[ratios.CONTRAST_OF_COST, batch].ratio.value, PLAIN / CONTRAST / (2 / 3))
        assert found[ratios.COST, batch].ratio.value == pytest.approx(2 / 3)
        assert found[ratios.PLAIN, batch].verdict.startswith("missed")
    assert {(arm, batch) for _, arm, batch, _ in speeds(measured.samples)} >= {
        (PAIR_CONTRAST, 4),
        (PAIR_CONTRAST, 8),
    }

    # Every server was asked the same, and what was asked in one round never again.
    plain = [body["prompt"] for body in pair.bodies if "contrast" not in body]
    for bodies in (expert.bodies, [body for body in pair.bodies if "contrast" in body]):
        assert sorted(body["prompt"] for body in bodies) == sorted(plain)
    assert len(set(plain)) == len(plain) == 2 * (8 + 16)


@pytest.mark.anyio
async def test_the_loop_is_measured_beside_the_server():
    def loop(prompts, tokens):
        time.sleep(0.75)
        return ["words" if place else "something else" for place in range(len(prompts))]

    steps: list[str] = []
    plan = Plan(batches=(), loop_batch=2, tokens=10, rounds=1)
    with running(Fake(seconds=lambda body: 0.3)) as fake:
        async with Endpoint(fake.url) as endpoint:
            endpoints = dict.fromkeys(("pair", "expert"), endpoint)
            measured = await Rounds(plan, endpoints, steps.append, loop=loop, forward=forward).measure(ignore)
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
            endpoints = dict.fromkeys(("pair", "expert"), endpoint)
            measured = await Rounds(plan, endpoints, lambda step: None).measure(ignore)
    assert 1 <= measured.rounds < 10
    assert {line.name for line in lines(measured.samples)} == {ratios.PLAIN, ratios.CONTRAST}


@pytest.mark.anyio
async def test_no_round_begins_that_would_end_too_late():
    # A round has six batches of 0.3 s one after the other: there is time to warm up and for one more, not for two.
    plan = Plan(batches=(8,), tokens=4, rounds=1000, minutes=5.2 / 60)
    with running(Fake(seconds=lambda body: 0.3)) as fake:
        async with Endpoint(fake.url) as endpoint:
            endpoints = dict.fromkeys(("pair", "expert"), endpoint)
            measured = await Rounds(plan, endpoints, lambda step: None).measure(ignore)
    assert measured.rounds == 1


async def refusing(rounds: int, refused: Sequence[int], kept: list[Measured]) -> Measured:
    """Measured on a server that refuses whatever the contrast arm asks in the rounds `refused`."""

    def step(text: str) -> None:
        fake.status = (
            500 if text in [f"round {n}: {PAIR_CONTRAST}, batch 8, servers" for n in refused] else 200
        )

    with running(Fake()) as fake:
        async with Endpoint(fake.url) as endpoint:
            endpoints = dict.fromkeys(("pair", "expert"), endpoint)
            plan = Plan(batches=(8,), tokens=4, rounds=rounds)
            return await Rounds(plan, endpoints, step).measure(kept.append)


@pytest.mark.anyio
async def test_an_error_takes_its_round_along_and_no_other():
    kept: list[Measured] = []
    measured = await refusing(5, [2, 4], kept)
    assert (measured.rounds, [one.round for one in measured.abandoned]) == (3, [2, 4])
    assert "refused with 500: the fake refuses" in measured.abandoned[0].reason
    assert [sample.round for sample in measured.samples] == [1] * 3 + [3] * 3 + [5] * 3
    assert [one.rounds for one in kept] == [1, 1, 2, 2, 3]
    assert kept[-1] == measured
    # A round that was abandoned leaves nothing to keep.
    kept = []
    assert (await refusing(2, [1], kept)).rounds == 1
    assert [len(one.samples) for one in kept] == [3]


@pytest.mark.anyio
@pytest.mark.parametrize(("rounds", "refused", "before"), [(9, [3, 4], 2), (9, [1, 2], 0), (1, [1], 0)])
async def test_errors_that_go_on_are_raised_behind_what_was_measured(
    rounds: int, refused: list[int], before: int
):
    kept: list[Measured] = []
    with pytest.raises(BenchmarkError, match="refused with 500"):
        await refusing(rounds, refused, kept)
    assert (kept[-1].rounds if kept else 0) == before


@pytest.mark.anyio
async def test_no_arm_always_comes_first():
    steps: list[str] = []
    plan = Plan(batches=(1,), tokens=1, rounds=2)
    with running(Fake()) as fake:
        async with Endpoint(fake.url) as endpoint:
            endpoints = dict.fromkeys(("pair", "expert"), endpoint)
            await Rounds(plan, endpoints, steps.append).measure(ignore)
    arms = [step.split(": ")[1].split(",")[0] for step in steps]
    assert len(steps) == steps_of(plan, with_loop=False)
    assert arms[3:6] == arms[8:5:-1]
    assert len(set(arms[3:6])) == 3
