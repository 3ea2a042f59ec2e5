"""`motet bench best-of` from its options to its files."""

from __future__ import annotations

import csv
import json
from itertools import islice
from pathlib import Path

import pytest
from typer.testing import CliRunner

from motet_benchmarks import gym
from motet_benchmarks.best_of.plan import RECIPES
from motet_benchmarks.best_of.testing import BestOfFake
from motet_benchmarks.cli import app
from motet_benchmarks.testing import running

DEAD = "http://127.0.0.1:9"
SMALL = ["--families", "addition,backwards", "--count", "3", "--worked", "2", "--n", "4"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--families", "juggling"], "--families: unknown juggling"),
        (["--count", "0", "--worked", "0"], "--count, --worked: nothing is asked"),
        (["--families", "backwards", "--count", "0"], "--count, --worked: nothing is asked"),
        (["--clients", "some"], "--clients some: must be whole numbers"),
        (["--serve-options", '"open'], "--serve-options: No closing quotation"),
        ([], f"{DEAD} doesn't answer"),
    ],
)
def test_mistakes_are_named_with_exit_code_2(words: list[str], message: str, tmp_path: Path):
    ran = CliRunner().invoke(app, ["best-of", "--url", DEAD, *words, "--out", str(tmp_path)])
    assert ran.exit_code == 2, ran.output
    assert message in ran.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_run_from_end_to_end(tmp_path: Path):
    problems = gym.instances("test", count=3, seed=0, families=["addition", "backwards"])
    for seed in (0, 1):
        problems += islice(gym.stream("test", seed=seed), 1500)
    worked = [problem.stepwise() for problem in problems if problem.steps]
    fake = BestOfFake(problems=[*problems, *worked], scored={"reward": 1.0})
    with running(fake):
        words = [*SMALL, "--url", fake.url, "--clients", "2", "--rounds", "1", "--out", str(tmp_path)]
        words += ["--phases", "1", "--seconds", "0.05"]
        ran = CliRunner().invoke(app, ["best-of", *words])
    assert ran.exit_code == 0, ran.output
    assert {path.name for path in tmp_path.iterdir()} == {
        f"best-of.{end}" for end in ("json", "csv", "md", "png")
    }
    facts = json.loads((tmp_path / "best-of.json").read_text())
    assert facts["agreeing"] == 8
    oracle = [point for point in facts["points"] if point["judge"] == "oracle" and point["group"] == "direct"]
    reward = [point for point in facts["points"] if point["judge"] == "reward" and point["group"] == "direct"]
    assert [point["n"] for point in oracle] == [1, 2, 4]
    assert [point["accuracy"] for point in oracle] == [
        point["accuracy"] for point in reward
    ]  # it knows them all
    assert {point["group"] for point in facts["families"]} == {
        "direct/addition",
        "direct/backwards",
        "worked/addition",
    }
    assert [each["recipe"] for each in facts["cheaper"]] == [recipe.name for recipe in RECIPES]
    assert facts["load"]["lost"] == []
    page = (tmp_path / "best-of.md").read_text()
    assert "On 8 of 8 problems the server's answer is the one" in page
    assert "one best_of request / separate requests + rewards, 2 clients" in page
    with (tmp_path / "best-of.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == len(facts["points"]) + len(facts["families"])


def test_quality_alone(tmp_path: Path):
    problems = gym.instances("test", count=3, seed=0, families=["addition", "backwards"])
    with running(BestOfFake(problems=problems, lying=True)) as fake:
        words = ["--url", fake.url, "--no-speed", "--no-recipes", "--worked", "0", "--out", str(tmp_path)]
        ran = CliRunner().invoke(app, ["best-of", *SMALL, *words])
    assert ran.exit_code == 0, ran.output
    facts = json.loads((tmp_path / "best-of.json").read_text())
    assert (facts["load"], facts["cheaper"], facts["speed"]) == (None, [], [])
    at = {(point["judge"], point["n"]): point["accuracy"]["value"] for point in facts["points"]}
    assert at["reward", 4] < at["reward", 1] < at["oracle", 4]  # the reward lies
