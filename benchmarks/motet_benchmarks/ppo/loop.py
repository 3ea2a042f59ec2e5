"""The measurement of the loop: short trainings with either sampler, read off what they write of themselves."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from motet_alignment.train.ppo.settings import PpoSettings
from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.ppo.plan import Plan
from motet_benchmarks.ppo.samples import ENGINE, LOOP, SAMPLERS, Sample

ANSWERING = "seconds_rollout"
#: An iteration's other phases.
PHASES = ("seconds_reward", "seconds_experience", "seconds_update")


def measure(
    plan: Plan,
    settings: Callable[[str], PpoSettings],
    train: Callable[[PpoSettings], Path],
    step: Callable[[str], None],
) -> tuple[list[Sample], float | None]:
    """Every iteration but a training's first, and how far engine and training disagree on a token, in nats.

    Args:
        plan: what to measure.
        settings: of a training with the arm of that name.
        train: trains in a fresh folder, and says in which.
        step: told of every training that begins.

    Raises BenchmarkError for metrics without an iteration's phases.
    """
    samples: list[Sample] = []
    apart: list[float] = []
    for number in range(1, plan.loop_rounds + 1):
        for arm in SAMPLERS if number % 2 else reversed(SAMPLERS):
            step(f"training {number}: {arm}, {plan.iterations} iterations of {plan.prompts}")
            lines = _iterations(train(settings(arm)) / "metrics.jsonl")
            samples += [_sample(arm, number, plan.prompts, line) for line in lines[1:]]
            if arm == ENGINE:
                apart += [line["ratio_to_sampler"] for line in lines[1:]]
    return samples, sum(apart) / len(apart) if apart else None


def _sample(arm: str, number: int, prompts: int, line: dict[str, Any]) -> Sample:
    return Sample(
        LOOP,
        arm,
        prompts,
        number,
        line["iteration"],
        round(line["length"] * prompts),
        0,
        line[ANSWERING],
        sum(line[phase] for phase in PHASES),
    )


def _iterations(metrics: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in metrics.read_text("utf-8").splitlines() if line]
    found = [line for line in lines if all(phase in line for phase in (ANSWERING, *PHASES))]
    if len(found) < 2:
        raise BenchmarkError(f"{metrics}: {len(found)} iterations with their phases' seconds; two are needed")
    return found
