"""`motet bench strategies` from its options to its files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from motet_benchmarks import gym
from motet_benchmarks.cli import app
from motet_benchmarks.strategies.records import Run, Sample
from motet_benchmarks.strategies.testing import PROMPT_TOKENS, TOKENS, StrategiesFake
from motet_benchmarks.testing import running

PROBLEMS = {
    json.dumps(one.messages()): one
    for one in gym.instances("test", count=2, seed=0, families=["addition", "backwards"])
}


def right_with_contrast(body: dict[str, Any]) -> str:
    return PROBLEMS[json.dumps(body["messages"])].target if body.get("contrast") else "wrong"


def refuses(body: dict[str, Any]) -> str | None:
    return "best_of: no reward here" if body.get("best_of") else None


def test_strategies_from_end_to_end(tmp_path: Path):
    with running(StrategiesFake(reply=right_with_contrast, refuses=refuses)) as fake:
        words = [
            "--url",
            fake.url,
            "--run",
            str(tmp_path),
            "--count",
            "2",
            "--families",
            "addition,backwards",
        ]
        words += ["--strategies", "plain,contrast,best-of-8", "--judge", "fake-reward"]
        ran = CliRunner().invoke(app, ["strategies", *words])
    assert ran.exit_code == 0, ran.output
    assert "best-of-8: not served" in ran.stderr
    lines = (tmp_path / "samples.jsonl").read_text().splitlines()
    samples = [Sample.model_validate_json(line) for line in lines]
    assert len({(one.strategy, one.problem) for one in samples}) == len(samples) == 8
    assert {(one.strategy, one.score) for one in samples} == {("plain", 0.0), ("contrast", 1.0)}
    assert {one.family for one in samples} == {"addition", "backwards"}
    alone = PROMPT_TOKENS + TOKENS
    costs = {(one.strategy, one.answer_tokens, one.generated, one.forwards) for one in samples}
    assert costs == {("plain", TOKENS, TOKENS, alone), ("contrast", TOKENS, TOKENS, 2 * alone)}
    for one in samples:
        assert one.reward == len(one.text)
        assert one.first_token is not None
        assert one.first_token <= one.seconds
    run = Run.model_validate_json((tmp_path / "run.json").read_bytes())
    assert [one.name for one in run.strategies] == ["plain", "contrast", "best-of-8"]
    assert (run.tasks[0].name, run.tasks[0].problems, run.judge) == ("gym", 4, "fake-reward")
    assert "no reward here" in run.refused["best-of-8"]
    assert {path.name for path in tmp_path.iterdir()} >= {"report.html", "report.md", "report.json"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--families", "juggling"], "--families: unknown juggling"),
        (["--families", ","], "--families: names no family"),
        (["--tasks", "chess"], "--tasks chess: must be gym"),
        (["--tasks", ","], "--tasks: nothing to ask"),
        (["--strategy", "mine"], "--strategy mine: must be NAME=JSON"),
        (["--strategies", "none.yaml"], "--strategies none.yaml: No such file"),
        (["--sweep", "contrast strength"], "--sweep contrast strength: must look like"),
        (["--serve-options", "--seed 1"], "--serve-options --seed 1: of the server that is started"),
        (
            ["--model", "mine"],
            "--model mine: of the server that is started, and --url names a running one; --name",
        ),
        (["--grader", "none"], "--grader none: only for a FILE.jsonl, and --tasks names none"),
        (["--limit", "3"], "--limit 3: only for a file or a task of lm_eval's"),
        (["--lm-eval-options", "--num_fewshot 5"], "only for a task of lm_eval's"),
        (["--tasks", "gsm8k:x.jsonl", "--count", "3"], "--count 3: only for the gym"),
        (["--tasks", "gsm8k:x.jsonl", "--families", "dates"], "--families dates: only for the gym"),
        ([], "http://127.0.0.1:9 doesn't answer"),
    ],
)
def test_mistakes_are_named_with_exit_code_2(words: list[str], message: str, tmp_path: Path):
    ran = CliRunner().invoke(
        app, ["strategies", "--url", "http://127.0.0.1:9", "--run", str(tmp_path / "run"), *words]
    )
    assert ran.exit_code == 2, ran.output
    assert message in ran.stderr
    assert not (tmp_path / "run").exists()


def test_options_of_a_server_that_is_started_are_checked_first(tmp_path: Path):
    ran = CliRunner().invoke(app, ["strategies", "--run", str(tmp_path / "run"), "--serve-options", '"open'])
    assert ran.exit_code == 2, ran.output
    assert "--serve-options: No closing quotation" in ran.stderr
