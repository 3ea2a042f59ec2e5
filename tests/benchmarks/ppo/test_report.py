"""What the files say of a measurement that is made up."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from motet_benchmarks.machine import circumstances
from motet_benchmarks.ppo.lines import ANSWERS, OWN_ANSWERS, PER_HOUR, REFERENCES, idle, lines
from motet_benchmarks.ppo.plan import Plan
from motet_benchmarks.ppo.report import write
from motet_benchmarks.ppo.samples import (
    ENGINE,
    GENERATE,
    LOADING,
    LOOP,
    REFERENCE,
    ROLLOUTS,
    TRAINING,
    TRANSFORMERS,
    Measured,
    Sample,
)

PLAN = Plan(batches=(32, 64), rounds=6)


def answered(gains: dict[int, float], rounds: int = 6) -> list[Sample]:
    """The engine so many times as fast as transformers, on a machine whose speed changes from round to round."""
    found = []
    for number in range(1, rounds + 1):
        found.append(Sample(LOADING, ENGINE, 0, number, 0, 0, 0, 0.25))
        for batch, gain in gains.items():
            found.append(Sample(ROLLOUTS, ENGINE, batch, number, 0, 10 * batch, 40, number / gain))
            found.append(Sample(ROLLOUTS, GENERATE, batch, number, 0, 10 * batch, 40, float(number)))
            found.append(Sample(REFERENCE, ENGINE, batch, number, 0, 10 * batch, 40, float(number)))
            found.append(Sample(REFERENCE, TRAINING, batch, number, 0, 10 * batch, 40, number / 5))
            found.append(Sample(ROLLOUTS, TRANSFORMERS, batch, number, 0, 10 * batch, 40, number / 2))
    return found


LOOPED = [
    Sample(LOOP, arm, 128, number, iteration, 1000, 0, seconds, 2.0)
    for arm, seconds in ((ENGINE, 1.0), (TRANSFORMERS, 7.0))
    for number in (1, 2)
    for iteration in (2, 3, 4)
]


def test_ratios_are_of_rounds_side_by_side():
    small, large, own, _, weighed, _, hours = lines(Measured((*answered({32: 4.0, 64: 2.0}), *LOOPED), 6))
    assert (small.name, small.batch, small.ratio.value) == (ANSWERS, 32, pytest.approx(4))
    assert (small.ratio.low, small.ratio.high) == pytest.approx((4, 4))
    assert small.verdict == "met"
    assert (large.batch, large.ratio.value, large.verdict) == (64, pytest.approx(2), "missed")
    assert (own.name, own.batch, own.ratio.value, own.verdict) == (OWN_ANSWERS, 32, pytest.approx(2), "")
    assert (weighed.name, weighed.batch, weighed.ratio.value) == (REFERENCES, 32, pytest.approx(5))
    assert (hours.name, hours.batch, hours.ratio.value) == (PER_HOUR, 128, pytest.approx(3))
    assert hours.verdict == ""


def test_the_interval_is_over_rounds():
    uneven = [*answered({32: 2.0}, rounds=3)]
    for sample in answered({32: 4.0}, rounds=6):
        if sample.round > 3:
            uneven.append(sample)
    line, *_ = lines(Measured(tuple(uneven), 6))
    assert line.ratio.value == pytest.approx(3)
    assert (line.ratio.low, line.ratio.high) == pytest.approx((2, 4))
    assert line.verdict == "met, within noise"


def test_static_batches_idle_while_the_longest_goes_on():
    assert idle(Measured(tuple(answered({32: 4.0})), 6), 32) == pytest.approx(0.75)


def test_files_hold_what_was_measured(tmp_path: Path):
    measured = Measured((*answered({32: 4.0, 64: 2.0}), *LOOPED), 6, agreement=2e-6)
    grids, paths = write(tmp_path, PLAN, measured, circumstances(["bench", "ppo"]))
    assert [path.name for path in paths] == ["ppo.json", "ppo.csv", "ppo.md", "ppo.png"]
    facts = json.loads(paths[0].read_text())
    assert facts["plan"]["batches"] == [32, 64]
    assert [line["ratio"]["value"] for line in facts["ratios"]] == pytest.approx([4, 2, 2, 1, 5, 5, 3])
    assert facts["loading_seconds"]["value"] == 0.25
    assert facts["agreement"] == 2e-6
    with paths[1].open(newline="") as sheet:
        rows = list(csv.DictReader(sheet))
    assert len(rows) == len(measured.samples)
    assert {row["arm"] for row in rows} == {ENGINE, TRANSFORMERS, GENERATE, TRAINING}
    text = paths[2].read_text()
    for grid in grids:
        assert grid.markdown() in text
    assert (
        "| rollout tokens per second: engine / transformers' generate | 32 | 4.00 [4.00, 4.00] | >= 3 | met |"
        in text
    )
    assert "| engine | 128 | 1,200 [1,200, 1,200] | 1.00 [1.00, 1.00] | 2.00 [2.00, 2.00] |" in text
    assert "| transformers | 128 | 400 [400, 400] |" in text
    assert "0.25 [0.25, 0.25] seconds, which are not in" in text
    assert "differ by 2.0e-06 nats" in text
    assert paths[3].read_bytes().startswith(b"\x89PNG")


def test_without_a_loop_nothing_is_said_of_one(tmp_path: Path):
    grids, paths = write(
        tmp_path, PLAN, Measured(tuple(answered({32: 4.0})), 6), circumstances(["bench", "ppo"])
    )
    assert len(grids) == 2
    assert "The loop" not in paths[2].read_text()
    assert json.loads(paths[0].read_text())["agreement"] is None
