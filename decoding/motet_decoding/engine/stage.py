"""Where the model and the logits processors of one worker meet, once a step.

The processors know which requests ask for a contrast before the forward pass; the model knows the amateur's hidden
states, and those between its own layers, after it. All are made by vLLM, apart from each other, so they meet here under
the engine's id.
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
        wanted_layers: after how many of the model's layers any of them wants its states.
        layers: those that the model can tell.
        editing: whether one of those also has its logits biased or penalised before the contrast.
        rehearsing: whether the step is vLLM's own, to see how much memory the heaviest one takes.
        sampling: whether the logits to sample from are still to come; prompt logprobs are computed after them.
        hidden: the amateur's hidden states at the step's logits rows, [rows, amateur_hidden], or None when it
            did not run or the contrast is made.
        layer_states: by layer, the states at the step's logits rows, [rows, hidden], until the contrast is made.
        layer_head: maps such states, at some of the rows or all, to logits.
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
    wanted_layers: tuple[int, ...] = ()
    layers: tuple[int, ...] = ()
    editing: bool = False
    rehearsing: bool = False
    sampling: bool = False
    hidden: torch.Tensor | None = None
    layer_states: dict[int, torch.Tensor] = field(default_factory=dict)
    layer_head: Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor] | None = None
    unedited: torch.Tensor | None = None
    head: Callable[[torch.Tensor], torch.Tensor] | None = None
    processor: Any = None
    rows: Rows = NO_ROWS
    scoring: Any = None
    measurements: Measurements = field(default_factory=Measurements)
    steps: int = 0
    amateur_steps: int = 0

    def begin(self) -> None:
        """A step of requests is about to run; a recorded one may never call the model's own ``forward``."""
        self.clear()
        self.sampling, self.rehearsing = True, False

    def layer_logits(self, layer: int, rows: torch.Tensor | None = None) -> torch.Tensor:
        """What the model would predict after so many of its layers: its final norm, then its head.

        Tensor parallel ranks see the same batch, so all of them call this for the same layers and rows, which the head
        needs to gather its shards.

        Args:
            layer: one of the step's ``wanted_layers``; 0 is the embedding.
            rows: of the step's logits rows, int64 [some]; None for all.

        Returns:
            Logits as the head gives them out, [some or rows, vocab]; nothing of them is kept.

        Raises:
            RuntimeError: where the layer's states weren't kept in this step.
        """
        if self.layer_head is None or layer not in self.layer_states:
            raise RuntimeError(f"a contrast asks for the model's layer {layer}, whose states weren't kept")
        return self.layer_head(self.layer_states[layer], rows)

    def clear(self) -> None:
        """Lets go of the step's tensors."""
        self.hidden = self.unedited = None
        self.layer_states = {}


_STAGES: WeakValueDictionary[str, Stage] = WeakValueDictionary()


def stage_of(vllm_config: VllmConfig) -> Stage:
    """The stage of the engine that was built from ``vllm_config``, in this process."""
    stage = _STAGES.get(vllm_config.instance_id)
    if stage is None:
        stage = _STAGES[vllm_config.instance_id] = Stage()
    return stage
