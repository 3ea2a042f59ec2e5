"""Groups and servers side by side: as many rows in both arms, in alternating order, and what the seconds say."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from motet_benchmarks.endpoint import Endpoint
from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.testing import running
from motet_benchmarks.voices.duels import DUELS, GROUPS, NONE, Duels, Sample, steps_of
from motet_benchmarks.voices.idle import busy_share
from motet_benchmarks.voices.paces import paces, ratios
from motet_benchmarks.voices.plan import Plan
from motet_benchmarks.voices.series import DPO
from motet_benchmarks.voices.testing import VoicesFake

PLAN = Plan(clients=(1, 3), rounds=2, tokens=5)


def raced(groups: VoicesFake, none: VoicesFake, plan: Plan = PLAN) -> tuple[list[Sample], list[str]]:
    told: list[str] = []

    async def run() -> list[Sample]:
        async with Endpoint(groups.url) as first, Endpoint(none.url) as second:
            return await Duels(plan, {GROUPS: first, NONE: second}, told.append).measure()

    with running(groups), running(none):
        return asyncio.run(run()), told


def test_both_arms_have_as_many_rows_and_answer_the_same_problems():
    groups, none = VoicesFake(), VoicesFake()
    samples, told = raced(groups, none)
    assert len(told) == steps_of(PLAN)
    assert {sample.round for sample in samples} == {1, 2}
    for duel in DUELS:
        if duel.aim is None:
            continue
        for clients in PLAN.clients:
            first, second = (
                next(
                    one
                    for one in samples
                    if one.duel == duel.name and one.clients == clients and one.first == first
                )
                for first in (True, False)
            )
            assert (first.rows, first.sequences) == (second.rows, second.sequences)
    assert all("contrast" not in body for body in none.bodies)
    texts = [str(body["messages"]) + str(body["model"]) for body in groups.bodies if "contrast" not in body]
    assert len(set(texts)) == len(texts)  # nothing for the prefix cache to find
    adapter = [body for body in groups.bodies if body["model"] == DPO]
    assert any(body.get("contrast", {}).get("against") == "base" for body in adapter)
    assert all(body["ignore_eos"] and body["max_tokens"] == 5 for body in groups.bodies)


def test_a_client_asks_all_of_its_requests_at_once():
    groups = VoicesFake(gathers=6)
    raced(groups, VoicesFake(), Plan(clients=(3,), rounds=1, tokens=5))
    assert groups.busiest == 6  # three clients' two independent requests each


def test_arms_take_turns_at_being_first():
    _, told = raced(VoicesFake(), VoicesFake())
    names = a, b = DUELS[0].first.name, DUELS[0].second.name
    steps = [step.partition(": ")[2] for step in told if step.endswith(", 1 clients")]
    blocks = [name for step in steps if (name := step.removesuffix(", 1 clients")) in names]
    assert blocks == [a, b, b, a, b, a, a, b, a, b, b, a]


def samples_of(pace: float, rounds: int = 8) -> list[Sample]:
    """Every first arm so many times as fast as the second, whatever a round's own luck."""
    return [
        Sample(
            duel.name,
            (duel.first if first else duel.second).name,
            first,
            4,
            number,
            8,
            16,
            8,
            64,
            (1.0 if first else pace) * (1 + number / 10),
        )
        for number in range(1, rounds + 1)
        for duel in DUELS
        for first in (True, False)
    ]


@pytest.mark.parametrize(
    ("pace", "rounds", "verdict"),
    [(1.0, 8, "met"), (0.8, 8, "missed"), (1.0, 3, "met, in too few rounds to be sure")],
)
def test_a_ratio_is_of_paces_round_by_round(pace: float, rounds: int, verdict: str):
    found = ratios(samples_of(pace, rounds))
    assert [one.duel for one in found] == [duel.name for duel in DUELS]
    assert {one.verdict for one in found} == {verdict, ""}
    for one in found:
        assert one.ratio.low == pytest.approx(pace) == one.ratio.high
        assert one.least == pytest.approx(pace) == one.most


def test_an_aim_inside_the_interval_is_within_noise():
    steady = samples_of(1.0)
    noisy = [
        one
        if one.first
        else Sample(**{**vars_of(one), "seconds": one.seconds * (0.8 if one.round % 2 else 1.1)})
        for one in steady
    ]
    assert {one.verdict for one in ratios(noisy) if one.aim == 0.9} == {"met, within noise"}


def vars_of(sample: Sample) -> dict[str, Any]:
    return {name: getattr(sample, name) for name in Sample.__dataclass_fields__}


def test_an_arms_own_pace_counts_all_rows():
    pace = paces(samples_of(1.0, 1))[0]
    assert pace.tokens.value == pytest.approx(16 * 64 / 1.1)
    assert pace.step.value == pytest.approx(1000 * 1.1 * 8 / (16 * 64))


@pytest.mark.parametrize(
    ("fake", "message"),
    [
        (VoicesFake(short=1), "4 tokens came where 5 were asked for"),
        (VoicesFake(forgets=True), "answered without the contrast"),
        (VoicesFake(refuses=lambda contrast: "no voices"), "no voices"),
    ],
)
def test_a_server_that_cannot_be_raced_ends_the_run(fake: VoicesFake, message: str):
    with pytest.raises(BenchmarkError, match=message):
        raced(fake, VoicesFake())


def test_the_busy_share_counts_what_isnt_waiting(tmp_path: Path):
    stat = tmp_path / "stat"
    stat.write_text("cpu 10 0 10 60 20 0 0 0 0 0\ncpu0 1 1 1 1\n")

    async def watch() -> float | None:
        watching = asyncio.create_task(busy_share(0.05, stat=stat))
        await asyncio.sleep(0.01)
        stat.write_text("cpu 20 0 15 110 45 5 5 0 0 0\n")
        return await watching

    assert asyncio.run(watch()) == pytest.approx(25 / 100)
    assert asyncio.run(busy_share(0.0, stat=tmp_path / "none")) is None
    assert asyncio.run(busy_share(0.0, stat=stat)) is None
