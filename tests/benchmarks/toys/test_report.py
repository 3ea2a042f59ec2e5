from __future__ import annotations

import json
from dataclasses import asdict

import pytest
from typer.testing import CliRunner

from motet_benchmarks.statistics import share
from motet_benchmarks.toys import Recipe, cli
from motet_benchmarks.toys.build import Made
from motet_benchmarks.toys.card import card
from motet_benchmarks.toys.evaluate import Outcomes, Results, Trial
from motet_benchmarks.toys.report import read_made

MADE = {
    "expert": Made(parameters=3_400_000, tokens=20_000_000, minutes=50.2, threads=2, loss=0.3),
    "amateur": Made(parameters=140_000, tokens=2_400_000, minutes=1.7, threads=1, loss=0.6),
}


def results() -> Results:
    families = ["addition"] * 10 + ["backwards"] * 10
    expert = [True] * 12 + [False] * 8
    contrast = [True] * 9 + [False] + [True] * 8 + [False] * 2
    outcomes = Outcomes(families, expert, [False] * 20, contrast)
    lines = {name: outcomes.only(name).line() for name in ("addition", "backwards")}
    trials = (Trial(0.5, 0.1, share(contrast)),)
    return Results(10, 0, 0.5, 0.1, trials, outcomes.line(), outcomes.line(), lines)


def test_the_card_shows_gains_and_losses_as_measured():
    text = card(Recipe(), MADE, results())
    assert "| **all families** | 60.0% (39-78) | 0.0% (0-16) | 85.0% (64-95) |" in text
    assert (
        "| addition | 28% | 100.0% (72-100) | 0.0% (0-28) | 90.0% (60-98) | -10.0 (-30.0 to +0.0) | 0 / 1 |"
        in text
    )
    assert "| backwards | 55% | 20.0% (6-51) | 0.0% (0-28) | 80.0% (49-94) |" in text
    assert "6 / 0 |" in text
    assert "| parameters | 3,400,000 | 140,000 |" in text
    assert "| in | 50 min, 2 CPU threads | 2 min, 1 CPU threads |" in text
    assert "{" not in text


def test_what_is_known_of_a_build_is_read_back(tmp_path):
    path = tmp_path / "toys.json"
    path.write_text(json.dumps({"made": {name: asdict(made) for name, made in MADE.items()}}))
    assert read_made(path) == MADE


@pytest.mark.parametrize("text", ["", "{}", '{"made": {"expert": {"parameters": 1}}}', '{"made": 3}'])
def test_other_files_are_refused_by_name(tmp_path, text: str):
    path = tmp_path / "toys.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"toys\.json: not the results of a build"):
        read_made(path)


def test_measuring_without_a_build_names_the_option(tmp_path):
    ran = CliRunner().invoke(cli.app, ["evaluate", "--results", str(tmp_path / "none.json")])
    assert ran.exit_code == 2
    assert "--results" in ran.output
    assert "none.json" in ran.output.replace("\n", "")
