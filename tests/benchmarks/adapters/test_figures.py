"""What swaps cost, from samples that are made up."""

from __future__ import annotations

import random

import pytest

from motet_benchmarks.adapters.figures import growth, latencies, rises, size
from motet_benchmarks.adapters.samples import (
    BASE,
    CURRENT,
    PROBE,
    WITH,
    WITHOUT,
    Measured,
    Phase,
    Reading,
    Reply,
)


def readings(each: float, *, noise: float = 2**20, warm: float = 0.0, swaps: int = 200) -> list[Reading]:
    """Two a swap; the first half rises by `warm` a swap as well."""
    rng = random.Random(0)
    found = []
    for half in range(2 * swaps + 1):
        done = half / 2
        memory = 2**30 + each * done + warm * min(done, 0.5 * swaps) + rng.gauss(0, noise)
        found.append(Reading(half / 4, int(done), int(memory), 3))
    return found


def test_a_growth_is_found():
    found = growth(readings(50 * 2**10), 200)
    assert found is not None
    assert found.verdict == "missed"
    assert found.each.low < 50 * 2**10 < found.each.high
    assert found.each.value == pytest.approx(50 * 2**10, rel=0.3)


@pytest.mark.parametrize("warm", [0.0, 2**20])
def test_noise_and_a_warming_up_are_no_growth(warm: float):
    found = growth(readings(0.0, warm=warm), 200)
    assert found is not None
    assert found.verdict == "met"
    assert found.each.low <= 0 <= found.each.high
    assert found.each.high < 20 * 2**10


def test_less_is_no_growth_either():
    found = growth(readings(-50 * 2**10), 200)
    assert found is not None
    assert found.verdict == "met"


def test_a_step_in_the_middle_leaves_a_doubt():
    stepped = [
        Reading(reading.moment, reading.swaps, reading.memory + (2**22 if reading.swaps > 150 else 0), 3)
        for reading in readings(0.0, noise=2**10)
    ]
    found = growth(stepped, 200)
    assert found is not None
    assert found.each.low > 0  # it did grow


def test_too_little_says_nothing():
    assert growth([], 200) is None
    assert growth([Reading(0.0, done, None, 1) for done in range(200)], 200) is None
    assert growth(readings(0.0, swaps=90), 90) is None


def test_what_memory_rose_by_in_each_arm():
    phases = (
        Phase(WITHOUT, 1, 0, 10),
        Phase(WITH, 1, 10, 20),
        Phase(WITH, 2, 20, 30),
        Phase(WITHOUT, 2, 30, 40),
    )
    memory = {11: 100, 19: 130, 21: 140, 29: 150, 31: 160, 39: 155}
    seen = [Reading(moment, 60, resident, 1) for moment, resident in memory.items()]
    early = [Reading(1, 2, 1, 1), Reading(9, 2, 1000, 1)]
    assert rises([*early, *seen], phases, 100) == {WITH: 40, WITHOUT: -5}


def measured(slower: float) -> Measured:
    """Ten rounds; with swaps everything takes `slower` times as long, and some rounds are slow in both arms."""
    replies, phases = [], []
    rng = random.Random(1)
    start = 0.0
    for number in range(1, 11):
        for arm in (WITHOUT, WITH):
            phases.append(Phase(arm, number, start, start + 10))
            for _ in range(100):
                seconds = (1 + 0.3 * (number % 3)) * rng.uniform(0.5, 1) * (slower if arm == WITH else 1)
                sent = start + rng.uniform(0, 7)
                replies.append(Reply(CURRENT, "a", 0, sent, sent + seconds / 10, sent + seconds, "a@0", (1,)))
            # None of these counts: too long for the phase, a probe, a failure.
            replies.append(Reply(BASE, "b", 0, start + 9, start + 50, start + 99, None, (1,)))
            replies.append(Reply(PROBE, "a", 0, start + 1, start + 8, start + 9, "a@0", (1,)))
            replies.append(Reply(CURRENT, "a", 0, start + 1, start + 8, start + 9, "a@0", (), "broken"))
            start += 10
    return Measured(tuple(replies), (), (), tuple(phases))


@pytest.mark.parametrize("slower", [1.0, 1.5])
def test_latency_with_and_without_swaps(slower: float):
    found = {each.name: each for each in latencies(measured(slower))}
    assert set(found) == {
        f"p{percent} to the {what}" for percent in (50, 99) for what in ("first token", "whole answer")
    }
    for each in found.values():
        assert (each.rounds, each.doubt) == (10, "")
        assert each.ratio.low <= slower <= each.ratio.high
        assert each.ratio.high - each.ratio.low < 0.3 * slower
        assert each.without.low <= each.without.value <= each.without.high
    assert found["p99 to the whole answer"].without.value == pytest.approx(1.6, rel=0.05)
    assert found["p99 to the first token"].without.value == pytest.approx(0.16, rel=0.05)


def test_without_whole_rounds_there_is_no_latency():
    assert latencies(Measured((), (), (), ())) == []


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (-3, "-3 B"), (2048, "2.0 KiB"), (-(2**20), "-1.0 MiB"), (3 * 2**20, "3.0 MiB")],
)
def test_sizes(count: float, text: str):
    assert size(count) == text
