from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.machine import circumstances
from motet_benchmarks.overhead import report
from motet_benchmarks.overhead.lines import CONTRAST_OF_COST, LOOP_ARRIVING, PLAIN, Line, lines
from motet_benchmarks.overhead.rounds import Plan
from motet_benchmarks.overhead.samples import (
    ALONE,
    AMATEUR_FORWARD,
    ARRIVING,
    EXPERT_ALONE,
    EXPERT_FORWARD,
    FORWARD,
    LOOP,
    PAIR_CONTRAST,
    PAIR_PLAIN,
    TOGETHER,
    Abandoned,
    Measured,
    Sample,
)
from motet_benchmarks.results import Grid, check_folder
from motet_benchmarks.statistics import Interval

SECONDS = {PAIR_PLAIN: 1.0, PAIR_CONTRAST: 1.25, EXPERT_ALONE: 0.99}
PASSES = {EXPERT_FORWARD: 0.9, AMATEUR_FORWARD: 0.1}


def samples() -> tuple[Sample, ...]:
    found = []
    for number in range(1, 7):
        slower = 1 + 0.1 * number  # the same for all arms of a round
        for batch in (1, 8):
            for arm, seconds in SECONDS.items():
                found.append(Sample(ALONE, arm, batch, number, 8, 512, slower * seconds, seconds))
            for arm, seconds in PASSES.items():
                found.append(
                    Sample(FORWARD, arm, batch, number, batch, 64 * batch, slower * seconds, seconds)
                )
        for workload, seconds in ((TOGETHER, 2.5), (ARRIVING, 5.0)):
            found.append(Sample(workload, PAIR_CONTRAST, 32, number, 32, 2048, slower, 0.5))
            found.append(Sample(workload, LOOP, 32, number, 32, 2048, seconds * slower, 2.0))
    return tuple(found)


def test_files_hold_what_was_measured(tmp_path: Path):
    measured = Measured(samples(), 6, 95, 96, (Abandoned(4, "http://server: no answer"),))
    models = {"pair": "toy", "expert": "large"}
    where = circumstances(["bench", "overhead", "--tokens", "64"])
    grids, paths = report.write(tmp_path / "new", Plan(rounds=7), models, measured, where)
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted(path.name for path in paths)
    assert [path.suffix for path in paths] == [".json", ".csv", ".md", ".png"]

    facts = json.loads(paths[0].read_text())
    assert facts["models"] == models
    assert facts["circumstances"]["command"] == "motet bench overhead --tokens 64"
    assert facts["circumstances"]["versions"]["torch"]
    assert facts["plan"]["contrast"]["strength"] == 0.5
    assert (facts["plan"]["rounds"], facts["rounds"]) == (7, 6)
    assert facts["abandoned"] == [{"round": 4, "reason": "http://server: no answer"}]
    at = {(line["name"], line["batch"]): line for line in facts["ratios"]}
    assert at[PLAIN, 8]["ratio"]["value"] == pytest.approx(0.99)
    assert at[PLAIN, 8]["verdict"] == "met"
    # 0.8 of plain speed, where the models' own times allow 0.9 / (0.9 + 0.1)
    assert at[CONTRAST_OF_COST, 1]["ratio"]["value"] == pytest.approx(0.8 / 0.9)
    assert at[CONTRAST_OF_COST, 1]["verdict"] == "missed"
    assert at[LOOP_ARRIVING, 32]["ratio"]["value"] == pytest.approx(5.0)

    with paths[1].open(newline="") as sheet:
        rows = list(csv.DictReader(sheet))
    assert len(rows) == len(samples())
    assert rows[0]["arm"] == PAIR_PLAIN
    assert float(rows[0]["seconds"]) == pytest.approx(1.1)

    page = paths[2].read_text()
    for grid in grids:
        assert grid.markdown() in page
    assert "| plain on the pair / plain on the expert alone | 8 | 0.99 [0.99, 0.99] | >= 0.97 | met |" in page
    assert "95 of 96 prompts" in page
    assert "Round 4 was abandoned, and nothing measured in it counts: http://server: no answer" in page
    assert paths[3].read_bytes().startswith(b"\x89PNG")


def test_without_the_loop_the_page_keeps_silent_about_it(tmp_path: Path):
    alone = tuple(sample for sample in samples() if sample.workload == ALONE)
    _, paths = report.write(
        tmp_path, Plan(), {"pair": "toy"}, Measured(alone, 6, 0, 0), circumstances(["bench", "overhead"])
    )
    page = paths[2].read_text()
    assert "transformers" not in page.partition("\n## ")[2]
    assert "own cost" not in page


@pytest.mark.parametrize(("load", "said"), [(0.9, False), (1.1, True)])
def test_a_busy_machine_is_told(load: float, said: bool):
    where = replace(circumstances(), cores=2, load=load)
    assert ("others were at work" in where.sentence()) == said
    assert f"load before the start {load}" in where.sentence()


@pytest.mark.parametrize(
    ("ratio", "verdict"),
    [
        (Interval(1.0, 0.98, 1.1), "met"),
        (Interval(0.98, 0.9, 1.1), "met, within noise"),
        (Interval(0.96, 0.9, 1.1), "missed, within noise"),
        (Interval(0.9, 0.85, 0.95), "missed"),
    ],
)
def test_a_verdict_says_what_the_interval_allows(ratio: Interval, verdict: str):
    assert Line("a ratio", 1, ratio, rounds=6, aim=0.97).verdict == verdict
    assert Line("a ratio", 1, ratio, rounds=6).verdict == ""
    few = Line("a ratio", 1, ratio, rounds=5, aim=0.97).verdict
    assert few == f"{verdict.split(',')[0]}, in too few rounds to be sure"


def test_a_missing_arm_is_noticed():
    with pytest.raises(ValueError, match="paired"):
        lines([sample for sample in samples() if (sample.arm, sample.round) != (EXPERT_ALONE, 2)])


def test_a_round_is_paired_with_itself():
    shuffled = sorted(samples(), key=lambda sample: (sample.arm, -sample.round))
    assert {(line.name, line.batch, line.ratio) for line in lines(shuffled)} == {
        (line.name, line.batch, line.ratio) for line in lines(samples())
    }
    slow = [replace(s, seconds=3 * s.seconds) if s.arm == PAIR_PLAIN else s for s in samples()]
    assert [line.ratio.value for line in lines(slow) if line.name == PLAIN] == pytest.approx([0.33, 0.33])


def test_a_folder_that_cannot_be_written(tmp_path: Path):
    file = tmp_path / "file"
    file.write_text("in the way")
    with pytest.raises(BenchmarkError, match=r"--out .*file"):
        check_folder(file / "inside")
    assert file.read_text() == "in the way"


def test_a_grid_with_a_missing_cell_is_refused():
    with pytest.raises(ValueError, match="1 cells under 2 columns"):
        Grid("title", ("a", "b"), (("1",),))
    assert (
        Grid("title", ("a", "b"), (("x|y", "[2]"),)).markdown()
        == "| a | b |\n| --- | ---: |\n| x\\|y | [2] |"
    )
