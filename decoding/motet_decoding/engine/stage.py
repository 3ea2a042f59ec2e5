"""Where the model and the logits processor of one worker meet, once a step.

The processor knows which requests ask for a contrast before the forward pass; the model knows the amateur's
hidden states after it. Both are made by vLLM, apart from each other, so they meet here under the engine's id.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import torch

from motet_decoding.engine.measuring import NO_ROWS, Measurements, Rows

if TYPE_CHECKING:
    from vllm.config import VllmConfig


@dataclass(eq=False)
class Stage:
    """One worker's current step.

    Attributes:
        asking: whether any request of this step's batch wants the amateur.
        editing: whether one of those also has its logits biased or penalised before the contrast.
        rehearsing: whether the step is vLLM's own, to see how much memory the heaviest one takes.
        sampling: whether the logits to sample from are still to come; prompt logprobs are computed after them.
        hidden: the amateur's hidden states at the step's logits rows, [rows, amateur_hidden], or None when it
            did not run or the contrast is made.
        unedited: the expert's logits before any edit, [rows, vocab]; kept only while ``editing``, until the
            contrast is made.
        head: maps the amateur's hidden states to its logits.
        processor: the worker's logits processor for contrasts.
        rows: what is to be done with some of the step's logits.
        scoring: the worker's logits processor that knows.
        measurements: the certainties measured so far.
        steps: forward passes so far, vLLM's own warm-ups aside.
        amateur_steps: those of them in which the amateur ran.
    """

    asking: bool = False
    editing: bool = False
    rehearsing: bool = False
    sampling: bool = False
    hidden: torch.Tensor | None = None
    unedited: torch.Tensor | None = None
    head: Callable[[torch.Tensor], torch.Tensor] | None = None
    processor: Any = None
    rows: Rows = NO_ROWS
    scoring: Any = None
    measurements: Measurements = field(default_factory=Measurements)
    steps: int = 0
    amateur_steps: int = 0

    def clear(self) -> None:
        """Lets go of the step's tensors."""
        self.hidden = self.unedited = None


_STAGES: WeakValueDictionary[str, Stage] = WeakValueDictionary()


def stage_of(vllm_config: VllmConfig) -> Stage:
    """The stage of the engine that was built from ``vllm_config``, in this process."""
    stage = _STAGES.get(vllm_config.instance_id)
    if stage is None:
        stage = _STAGES[vllm_config.instance_id] = Stage()
    return stage
