"""A run between two iterations, on the disk: what it takes to go on as if nothing had happened."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from motet_alignment.errors import TrainError
from motet_alignment.train.checkpoints import seal, write_json
from motet_alignment.train.ppo.learner import Learner
from motet_alignment.train.ppo.stopping import Evaluation

_WEIGHTS, _MOMENTS, _STATE = "weights.safetensors", "optimizer.safetensors", "state.json"
# The one before stays: a kill while the new one is written leaves it.
_KEPT = 2


@dataclass(frozen=True, slots=True)
class State:
    """What changes from iteration to iteration, beside weights and optimizers.

    Nothing random is kept: all draws come of the seed and the iteration.
    """

    #: Iterations done.
    iteration: int = 0
    kl_coefficient: float = 0.0
    #: Of the last iteration's answers from the reference, their mean in nats; None before the first, where the policy
    #: starts elsewhere than at the reference.
    kl: float | None = 0.0
    evaluations: tuple[Evaluation, ...] = ()
    #: Seconds spent, over all kills.
    seconds: float = 0.0
    #: Why the run has ended; None while it goes on.
    stopped: str | None = None

    def with_evaluation(self, evaluation: Evaluation) -> State:
        """With one more evaluation."""
        return replace(self, evaluations=(*self.evaluations, evaluation))


def save(folder: Path, state: State, learner: Learner) -> Path:
    """Writes `checkpoint-N`, whole or not at all, and removes those before the last two.

    Raises TrainError, and writes nothing, where weights are no numbers any more.
    """
    weights = _weights(learner)
    if not all(bool(weight.isfinite().all()) for weight in weights.values()):
        raise TrainError(
            f"after iteration {state.iteration} weights are no numbers; the last good checkpoint is kept. "
            "Lower --learning-rate, or raise --warm-up"
        )
    checkpoint = folder / f"checkpoint-{state.iteration}"
    shutil.rmtree(checkpoint, ignore_errors=True)
    checkpoint.mkdir()
    save_file(
        {name: weight.detach().cpu().contiguous() for name, weight in weights.items()}, checkpoint / _WEIGHTS
    )
    save_file(_moments(learner), checkpoint / _MOMENTS)
    write_json(
        checkpoint / _STATE,
        {
            "iteration": state.iteration,
            "kl_coefficient": state.kl_coefficient,
            "kl": state.kl,
            "evaluations": [evaluation.as_json() for evaluation in state.evaluations],
            "seconds": state.seconds,
            "stopped": state.stopped,
        },
    )
    seal(checkpoint)
    numbered = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    for path in numbered[:-_KEPT]:
        shutil.rmtree(path)
    return checkpoint


def load(checkpoint: Path, learner: Learner) -> State:
    """Puts weights and optimizers back as they were. Raises TrainError for a checkpoint that doesn't fit."""
    try:
        told: dict[str, Any] = json.loads((checkpoint / _STATE).read_text("utf-8"))
        weights = load_file(checkpoint / _WEIGHTS)
        moments = load_file(checkpoint / _MOMENTS)
    except (OSError, ValueError, SafetensorError) as problem:
        raise TrainError(f"{checkpoint} can't be read: {problem}; start over with --no-resume") from None
    mine = _weights(learner)
    if mine.keys() != weights.keys():
        raise TrainError(f"{checkpoint} holds other weights than this run has; start over with --no-resume")
    with torch.no_grad():
        for name, weight in mine.items():
            weight.copy_(weights[name])
    _put_moments(learner, moments)
    return State(
        iteration=told["iteration"],
        kl_coefficient=told["kl_coefficient"],
        kl=told["kl"],
        evaluations=tuple(Evaluation.from_json(one) for one in told["evaluations"]),
        seconds=told["seconds"],
        stopped=told["stopped"],
    )


def _weights(learner: Learner) -> dict[str, nn.Parameter]:
    actor = learner.actor
    return {f"policy.{name}": weight for name, weight in actor.policy_parameters.items()} | {
        f"value.{name}": weight for name, weight in actor.value_parameters.items()
    }


def _optimizers(learner: Learner) -> list[tuple[torch.optim.Optimizer, nn.Parameter, str]]:
    found: list[tuple[torch.optim.Optimizer, nn.Parameter, str]] = []
    for name, weight in _weights(learner).items():
        optimizer = learner.policy_optimizer if name.startswith("policy.") else learner.value_optimizer
        if optimizer is not None:
            found.append((optimizer, weight, name))
    return found


def _moments(learner: Learner) -> dict[str, Tensor]:
    return {
        f"{name} {key}": value.detach().cpu().contiguous()
        for optimizer, weight, name in _optimizers(learner)
        for key, value in optimizer.state.get(weight, {}).items()
    }


def _put_moments(learner: Learner, moments: Mapping[str, Tensor]) -> None:
    for optimizer, weight, name in _optimizers(learner):
        found = {
            key.rpartition(" ")[2]: value for key, value in moments.items() if key.rpartition(" ")[0] == name
        }
        if found:
            # AdamW counts steps on the CPU, and has its averages where the weight is.
            optimizer.state[weight] = {
                key: value if value.ndim == 0 else value.to(weight.device) for key, value in found.items()
            }
