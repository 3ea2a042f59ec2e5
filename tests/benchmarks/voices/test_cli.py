"""`motet bench voices` from its options to its files."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from motet_benchmarks import gym
from motet_benchmarks.cli import app
from motet_benchmarks.testing import running
from motet_benchmarks.voices.plan import Plan, named_series
from motet_benchmarks.voices.testing import VoicesFake

DEAD = "http://127.0.0.1:9"
RULES = "SFT against itself without the system prompt"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--series", "juggling"], "--series: unknown juggling"),
        (["--clients", "some"], "--clients some: must be whole numbers"),
        (["--no-quality", "--no-speed"], "--no-quality, --no-speed: nothing is measured"),
        (["--serve-options", '"open'], "--serve-options: No closing quotation"),
        ([], f"{DEAD} doesn't answer"),
        (["--no-quality", "--url-plain", DEAD], f"{DEAD} doesn't answer"),
    ],
)
def test_mistakes_are_named_with_exit_code_2(words: list[str], message: str, tmp_path: Path):
    ran = CliRunner().invoke(app, ["voices", "--url", DEAD, *words, "--out", str(tmp_path)])
    assert ran.exit_code == 2, ran.output
    assert message in ran.stderr
    assert list(tmp_path.iterdir()) == []


def test_quality_from_end_to_end(tmp_path: Path):
    plan = Plan(count=1, tuning=1, worked=0, series=named_series([RULES]))
    families = plan.series[0].families
    problems = [*plan.problems("test", families), *plan.problems("validation", families)]

    def knows(problem: gym.Instance, body: dict[str, Any]) -> bool:
        # The voice's own conversation is the one without the rule.
        against = body.get("contrast", {}).get("against", {})
        return bool(against) and all(message["role"] != "system" for message in against["messages"])

    with running(VoicesFake(problems=problems, knows=knows)) as fake:
        words = ["--url", fake.url, "--no-speed", "--count", "1", "--tuning", "1", "--worked", "0"]
        ran = CliRunner().invoke(app, ["voices", *words, "--series", RULES, "--out", str(tmp_path)])
    assert ran.exit_code == 0, ran.output
    assert {path.name for path in tmp_path.iterdir()} == {
        f"voices.{end}" for end in ("json", "csv", "md", "png")
    }
    facts = json.loads((tmp_path / "voices.json").read_text())
    assert [choice["setting"] for choice in facts["choices"]] == ["s = 0.25"]
    assert {line["difference"]["value"] for line in facts["direct"]} == {1.0}
    assert facts["series"][RULES]["s = 2"]["formula"]["strength"] == 2.0
    page = (tmp_path / "voices.md").read_text()
    assert "| s = 0.25 (chosen) | 100.0" in page
    assert "Problems that ask for their steps." in page
    with (tmp_path / "voices.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4 * 6
    assert {(row["problems"], row["right"], row["gains"]) for row in rows} == {("direct", "4", "4")}


def test_speed_alone(tmp_path: Path):
    with running(VoicesFake()) as groups, running(VoicesFake()) as none:
        words = [
            "--url",
            groups.url,
            "--url-plain",
            none.url,
            "--no-quality",
            "--clients",
            "1",
            "--rounds",
            "1",
        ]
        ran = CliRunner().invoke(app, ["voices", *words, "--tokens", "3", "--out", str(tmp_path)])
    assert ran.exit_code == 0, ran.output
    facts = json.loads((tmp_path / "voices-serving.json").read_text())
    assert {one["clients"] for one in facts["ratios"]} == {1}
    assert len(facts["ratios"]) == len(facts["duels"])
    page = (tmp_path / "voices-serving.md").read_text()
    assert "a group of adapter and base / two independent requests" in page
    assert not (tmp_path / "voices.md").exists()
