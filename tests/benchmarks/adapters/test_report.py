"""The files of a run that is made up."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from motet_benchmarks.adapters import report
from motet_benchmarks.adapters.outcome import Outcome, outcome
from motet_benchmarks.adapters.plan import Plan
from motet_benchmarks.adapters.products import Case, Line
from motet_benchmarks.adapters.samples import (
    ARMS,
    CURRENT,
    Measured,
    Phase,
    Reading,
    Reply,
    Swap,
)
from motet_benchmarks.adapters.testing import answers
from motet_benchmarks.machine import circumstances
from motet_benchmarks.statistics import Interval

SWAPS = 100


def run() -> Measured:
    """A swap every two seconds, heard after half a second, in ten rounds of ten swaps; without them half as fast."""
    known = answers(SWAPS + 1)
    swaps = [Swap(0, "fake@0", -1.0, -0.9)]
    replies, phases, readings = [], [], []
    for number in range(1, SWAPS + 1):
        at = 40.0 * ((number - 1) // 10) + 20 + 2.0 * ((number - 1) % 10)
        swaps.append(Swap(number, f"fake@{number}", at, at + 0.1))
        replies.append(
            Reply(CURRENT, "fake", 1, at + 0.2, at + 0.6, at + 1.2, f"fake@{number}", known[number][1].tokens)
        )
        before = number - 1 - (number - 1) % 10
        replies.append(
            Reply(
                CURRENT, "fake", 0, at - 20, at - 19.8, at - 19.5, f"fake@{before}", known[before][0].tokens
            )
        )
        readings.append(Reading(at + 1, number, 2**30 + number % 3, 3))
    for place in range(20):
        phases.append(Phase(ARMS[place % 2], place // 2 + 1, 20.0 * place, 20.0 * place + 20))
    return Measured(tuple(replies), tuple(swaps), tuple(readings), tuple(phases))


def found_in(measured: Measured) -> Outcome:
    return outcome(measured, answers(SWAPS + 1), bound=4, adapter_bytes=2**20)


def write(folder: Path, measured: Measured, found: Outcome, lines: list[Line]):
    return report.write(
        folder, Plan(swaps=SWAPS), measured, found, lines, circumstances(["bench", "adapters"])
    )


def test_files_hold_what_was_measured(tmp_path: Path):
    measured = run()
    found = found_in(measured)
    one = Interval(1e-4, 9e-5, 2e-4)
    line = Line(Case(256, 8, 4), 9, one, one, one, Interval(2.5, 2.0, 3.0), Interval(1.0, 0.9, 1.1))
    grids, paths = write(tmp_path, measured, found, [line])
    assert [path.name for path in paths] == [f"adapters.{suffix}" for suffix in ("json", "csv", "md", "png")]
    assert found.passed

    facts = json.loads(paths[0].read_text())
    assert facts["passed"] is True
    assert facts["plan"]["swaps"] == SWAPS
    assert len(facts["outcome"]["waits"]) == SWAPS
    assert facts["outcome"]["waits"][0]["from_published"] == pytest.approx(0.5)
    assert facts["products"][0]["vllm_over_motet"]["value"] == 2.5
    assert len(facts["readings"]) == SWAPS

    with paths[1].open(newline="") as sheet:
        rows = list(csv.DictReader(sheet))
    assert len(rows) == 2 * SWAPS
    assert {row["arm"] for row in rows} == set(ARMS)
    assert float(rows[0]["seconds"]) == pytest.approx(1.0)
    assert float(rows[0]["first_token_seconds"]) == pytest.approx(0.4)
    assert rows[0]["version"] == "fake@1"

    page = paths[2].read_text()
    for grid in grids:
        assert grid.markdown() in page
    assert "| failed requests | 0 of 200 | 0 | met |" in page
    assert "| answers of a wrong version | 0 of 200 | 0 | met |" in page
    assert f"| swaps heard | {SWAPS} of {SWAPS} | all | met |" in page
    assert "| 0.500 [0.500, 0.500], p99 0.50, longest 0.50 | < 1 | met |" in page
    assert "| versions that the engine held | 3 at most | <= 4 | met |" in page
    assert "| p99 to the whole answer, with swaps / without | 2.00 [2.00, 2.00] |" in page
    assert "| 256 | 8 | 4 | 100 us |" in page
    assert "No request failed, and none was answered wrongly." in page
    assert paths[3].read_bytes().startswith(b"\x89PNG")


def test_losses_stand_as_plainly_on_the_page(tmp_path: Path):
    measured = run()
    broken = replace(measured.replies[0], tokens=(), problem="status 500: ill")
    stale = replace(measured.replies[2], version="fake@0", tokens=answers(1)[0][1].tokens)
    slow = [
        replace(swap, published=swap.published - 0.9) if swap.number == 5 else swap for swap in measured.swaps
    ]
    growing = [replace(reading, memory=2**30 + reading.swaps * 2**20) for reading in measured.readings]
    growing[-1] = replace(growing[-1], loaded=5)
    worse = replace(
        measured,
        replies=(broken, measured.replies[1], stale, *measured.replies[3:]),
        swaps=tuple(slow),
        readings=tuple(growing),
        stopped="200 requests had failed",
    )
    found = found_in(worse)
    _, paths = write(tmp_path, worse, found, [])
    assert not found.passed
    page = paths[2].read_text()
    assert "**Ended early: 200 requests had failed.**" in page
    assert "| failed requests | 1 of 200 | 0 | missed |" in page
    assert "| answers of a wrong version | 1 of 200 | 0 | missed |" in page
    assert f"| swaps heard | {SWAPS - 1} of {SWAPS} | all | missed |" in page
    assert f"| < 1 | missed by 1 of {SWAPS - 1} |" in page
    assert "| 5 at most | <= 4 | missed |" in page
    assert "| memory a swap | 1.0 MiB [1.0 MiB, 1.0 MiB] | no growth | missed |" in page
    assert "20.20 s, current fake: status 500: ill" in page
    assert "fake: version 0 answered after version 1 had been heard" in page
    assert "vLLM's own" not in page


def test_many_faults_are_counted_and_few_are_shown(tmp_path: Path):
    measured = run()
    failing = tuple(replace(reply, problem="status 500: ill") for reply in measured.replies)
    worse = replace(measured, replies=failing)
    _, paths = write(tmp_path, worse, found_in(worse), [])
    page = paths[2].read_text()
    assert page.count("status 500: ill") == 30
    assert "- and 170 more, in adapters.json" in page
    assert len(json.loads(paths[0].read_text())["outcome"]["faults"]) == 200
