from __future__ import annotations

from dataclasses import replace

import pytest
from typer.testing import CliRunner

from motet_benchmarks.statistics import share
from motet_benchmarks.toys import Recipe, cli, report
from motet_benchmarks.toys.card import card
from motet_benchmarks.toys.evaluate import Outcomes, Results, Trial
from motet_benchmarks.toys.record import WEIGHTS, Made, Record, digest, read, write

EXPERT = Made(parameters=3_400_000, tokens=20_000_000, minutes=50.2, threads=2, loss=0.3, sha256="e")
AMATEUR = Made(parameters=140_000, tokens=2_400_000, minutes=1.7, threads=1, loss=0.6, sha256="a")
RECORD = Record(
    Recipe(), {"addition": 0.28, "backwards": 0.55}, "2.13.0", {"expert": EXPERT, "amateur": AMATEUR}
)


def results() -> Results:
    families = ["addition"] * 10 + ["backwards"] * 10
    expert = [True] * 12 + [False] * 8
    contrast = [True] * 9 + [False] + [True] * 8 + [False] * 2
    outcomes = Outcomes(families, expert, [False] * 20, contrast)
    lines = {name: outcomes.only(name).line() for name in ("addition", "backwards")}
    trials = (Trial(0.5, 0.1, share(contrast)),)
    return Results(10, 0, 0.5, 0.1, trials, outcomes.line(), outcomes.line(), lines)


@pytest.fixture
def pair(tmp_path):
    """A folder with a pair's weights and its record, not measured yet."""
    made = {}
    for name in ("expert", "amateur"):
        (tmp_path / name).mkdir()
        (tmp_path / name / WEIGHTS).write_bytes(name.encode())
        made[name] = replace(RECORD.made[name], sha256=digest(tmp_path / name))
    write(replace(RECORD, made=made), tmp_path / "toys.json")
    return tmp_path


def evaluate(*options: object):
    return CliRunner().invoke(cli.app, ["evaluate", *map(str, options)])


def test_the_card_shows_gains_and_losses_as_measured():
    text = card(RECORD, results())
    assert "| **all families** | 60.0% (39-78) | 0.0% (0-16) | 85.0% (64-95) |" in text
    assert (
        "| addition | 28% | 100.0% (72-100) | 0.0% (0-28) | 90.0% (60-98) | -10.0 (-36.2 to +19.6) | 0 / 1 |"
        in text
    )
    assert "| backwards | 55% | 20.0% (6-51) | 0.0% (0-28) | 80.0% (49-94) |" in text
    assert "6 / 0 |" in text
    assert "| parameters | 3,400,000 | 140,000 |" in text
    assert "| in | 50 min, 2 CPU threads, compiled | 2 min, 1 CPU thread |" in text
    assert "gym's 2 families" in text
    assert "{" not in text


def test_the_card_says_which_families_the_text_did_not_hold():
    text = card(replace(RECORD, shares={"addition": 0.28}), results())
    assert "| backwards | not in it | 20.0% (6-51) |" in text


def test_measuring_keeps_how_the_pair_was_made(pair, monkeypatch):
    monkeypatch.setattr(report, "evaluate", lambda expert, amateur, **options: results())
    before = read(pair / "toys.json")
    ran = evaluate("--folder", pair)
    assert ran.exit_code == 0, ran.output
    after = read(pair / "toys.json")
    assert after == replace(before, measured=results())
    assert (pair / "README.md").read_text() == card(after, results())


def test_other_weights_are_not_measured(pair):
    (pair / "expert" / WEIGHTS).write_bytes(b"another")
    ran = evaluate("--folder", pair)
    assert ran.exit_code == 2
    assert "not the weights on record" in " ".join(ran.output.replace("│", " ").split())
    assert read(pair / "toys.json").measured is None


def test_measuring_without_a_build_names_the_option(tmp_path):
    ran = evaluate("--results", tmp_path / "none.json")
    assert ran.exit_code == 2
    assert "--results" in ran.output
    assert "none.json" in "".join(ran.output.replace("│", " ").split())
