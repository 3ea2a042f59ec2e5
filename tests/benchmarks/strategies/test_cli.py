"""`motet bench strategies` from its options to its files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from motet_benchmarks import gym
from motet_benchmarks.cli import app
from motet_benchmarks.strategies.records import Run, Sample
from motet_benchmarks.strategies.testing import PROMPT_TOKENS, TOKENS, StrategiesFake
from motet_benchmarks.testing import running

PROBLEMS = {
    json.dumps(one.messages()): one
    for one in gym.instances("test", count=2, seed=0, families=["addition", "backwards"])
}
GYM = ["--count", "2", "--families", "addition,backwards"]


def right_with_contrast(body: dict[str, Any]) -> str:
    return PROBLEMS[json.dumps(body["messages"])].target if body.get("contrast") else "wrong"


def bench(fake: StrategiesFake, folder: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["strategies", "--url", fake.url, "--run", str(folder), *GYM, *words])


def samples_of(folder: Path) -> list[Sample]:
    lines = (folder / "samples.jsonl").read_text().splitlines()
    return [Sample.model_validate_json(line) for line in lines]


def run_of(folder: Path) -> Run:
    return Run.model_validate_json((folder / "run.json").read_bytes())


def test_plain_and_contrast_from_end_to_end(tmp_path: Path):
    with running(StrategiesFake(reply=right_with_contrast)) as fake:
        ran = bench(fake, tmp_path, "--strategies", "plain,contrast", "--judge", "fake-reward")
    assert ran.exit_code == 0, ran.output
    samples = samples_of(tmp_path)
    assert len({(one.strategy, one.problem) for one in samples}) == len(samples) == 8
    assert {(one.strategy, one.score) for one in samples} == {("plain", 0.0), ("contrast", 1.0)}
    assert {one.family for one in samples} == {"addition", "backwards"}
    costs = {(one.strategy, one.answer_tokens, one.generated, one.scored, one.forwards) for one in samples}
    alone = PROMPT_TOKENS + TOKENS
    assert costs == {("plain", TOKENS, TOKENS, 0, alone), ("contrast", TOKENS, TOKENS, 0, 2 * alone)}
    for one in samples:
        assert one.reward == len(one.text)
        assert one.first_token is not None
        assert one.first_token <= one.seconds
    run = run_of(tmp_path)
    assert [one.name for one in run.strategies] == ["plain", "contrast"]
    assert (run.tasks[0].name, run.tasks[0].problems, run.judge) == ("gym", 4, "fake-reward")
    assert {path.name for path in tmp_path.iterdir()} >= {"report.html", "report.md", "report.json"}
    assert all(body["temperature"] == 0 and body["max_tokens"] == 128 for body in fake.bodies)


def test_the_same_command_goes_on_where_it_stopped(tmp_path: Path):
    words = ["--strategies", "plain,contrast", "--concurrency", "1"]
    with running(StrategiesFake(fails=5)) as fake:
        ran = bench(fake, tmp_path, *words)
    assert ran.exit_code == 2
    assert "refused with 500: the fake is ill" in ran.stderr
    kept = (tmp_path / "samples.jsonl").read_bytes()
    assert len(kept.splitlines()) == 5
    # What a kill may leave of the last line.
    (tmp_path / "samples.jsonl").write_bytes(kept[:-40])
    with running(StrategiesFake()) as fake:
        ran = bench(fake, tmp_path, *words)
        assert ran.exit_code == 0, ran.output
        assert len(fake.bodies) == 4
        again = bench(fake, tmp_path, *words)
    assert again.exit_code == 0, again.output
    assert len(fake.bodies) == 4
    assert len({(one.strategy, one.problem) for one in samples_of(tmp_path)}) == 8
    assert (tmp_path / "samples.jsonl").read_bytes().startswith(b"".join(kept.splitlines(True)[:4]))


def test_a_folder_of_another_configuration_is_refused_and_left_alone(tmp_path: Path):
    with running(StrategiesFake()) as fake:
        assert bench(fake, tmp_path, "--strategies", "plain").exit_code == 0
        before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        ran = bench(fake, tmp_path, "--strategies", "plain,sampled", "--tokens", "9", "--seed", "4")
    assert ran.exit_code == 2
    assert (
        "holds a run of another configuration (seed 0 there, 4 here; strategy sampled only here; strategy plain has "
        "changed; task gym has changed)"
    ) in ran.stderr
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_strategies_that_are_not_served_are_told_and_the_others_go_on(tmp_path: Path):
    def refuses(body: dict[str, Any]) -> str | None:
        return "best_of: no reward here" if body.get("best_of") else None

    with running(StrategiesFake(refuses=refuses, reply=right_with_contrast)) as fake:
        ran = bench(fake, tmp_path, "--strategies", "plain,best-of-8,contrast")
    assert ran.exit_code == 0, ran.output
    assert "best-of-8: not served" in ran.stderr
    assert "refused with 400: best_of: no reward here" in run_of(tmp_path).refused["best-of-8"]
    assert {one.strategy for one in samples_of(tmp_path)} == {"plain", "contrast"}
    assert sum("best_of" in body for body in fake.bodies) == 1
    # Another server of the same model does serve it.
    with running(StrategiesFake(reply=right_with_contrast)) as fake:
        ran = bench(fake, tmp_path, "--strategies", "plain,best-of-8,contrast")
    assert ran.exit_code == 0, ran.output
    assert run_of(tmp_path).refused == {}
    assert len(fake.bodies) == 4


def test_an_endpoint_that_ignores_what_is_asked_for_is_no_better_than_one_that_refuses(tmp_path: Path):
    with running(StrategiesFake(ignores=True)) as fake:
        ran = bench(fake, tmp_path, "--strategies", "plain,contrast,best-of-8")
    assert ran.exit_code == 0, ran.output
    assert {name: said.partition(": ")[2] for name, said in run_of(tmp_path).refused.items()} == {
        "contrast": "answered without the contrast that it was asked for",
        "best-of-8": "answered without the best_of that it was asked for",
    }
    with running(StrategiesFake(ignores=True)) as fake:
        ran = bench(fake, tmp_path / "none", "--strategies", "contrast")
    assert ran.exit_code == 2
    assert "serves none of the strategies:\n  contrast: " in ran.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--families", "juggling"], "--families: unknown juggling"),
        (["--tasks", "chess"], "--tasks chess: must be gym"),
        (["--tasks", ","], "--tasks: nothing to ask"),
        (["--strategy", "mine"], "--strategy mine: must be NAME=JSON"),
        (["--strategies", "none.yaml"], "--strategies none.yaml: No such file"),
        (["--sweep", "contrast strength"], "--sweep contrast strength: must look like"),
        (["--serve-options", '"open'], "--serve-options: No closing quotation"),
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
