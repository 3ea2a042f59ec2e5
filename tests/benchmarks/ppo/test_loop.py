"""What is read off the metrics of short trainings, which are made up here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.ppo import loop
from motet_benchmarks.ppo.plan import Plan
from motet_benchmarks.ppo.samples import ENGINE, TRANSFORMERS

PLAN = Plan(loop_rounds=2, iterations=3, prompts=100)
SECONDS = {ENGINE: 1.0, TRANSFORMERS: 5.0}


def line(arm: str, iteration: int) -> dict[str, float]:
    first = 60.0 if iteration == 1 else 0.0
    return {
        "iteration": iteration,
        "length": 10.5,
        "seconds_rollout": SECONDS[arm] + first,
        "seconds_reward": 0.5,
        "seconds_experience": 0.25,
        "seconds_update": 0.25 * iteration,
        "ratio_to_sampler": 1e-6 * iteration,
    }


def test_iterations_are_read_without_the_first_and_without_evaluations(tmp_path: Path):
    trained: list[str] = []

    def train(arm: str) -> Path:
        trained.append(arm)
        folder = tmp_path / str(len(trained))
        folder.mkdir()
        lines = [{"iteration": 0, "eval_reward": 1.0}, *(line(arm, number) for number in (1, 2, 3))]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
        return folder

    steps: list[str] = []
    samples, apart = loop.measure(PLAN, lambda arm: arm, train, steps.append)
    assert trained == [ENGINE, TRANSFORMERS, TRANSFORMERS, ENGINE]
    assert len(steps) == 4
    assert [(one.round, one.iteration) for one in samples if one.arm == ENGINE] == [
        (1, 2),
        (1, 3),
        (2, 2),
        (2, 3),
    ]
    assert {one.seconds for one in samples if one.arm == TRANSFORMERS} == {5.0}
    assert [one.other for one in samples[:2]] == [1.25, 1.5]
    assert {one.tokens for one in samples} == {1050}
    assert apart == pytest.approx(2.5e-6)


def test_metrics_without_phases_are_named(tmp_path: Path):
    (tmp_path / "metrics.jsonl").write_text(json.dumps({"iteration": 1, "reward": 1.0}) + "\n")
    with pytest.raises(BenchmarkError, match=r"metrics\.jsonl: 0 iterations with their phases' seconds"):
        loop.measure(PLAN, lambda arm: arm, lambda settings: tmp_path, print)
