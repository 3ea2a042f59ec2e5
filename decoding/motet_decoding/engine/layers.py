"""What the answer's own model would say after some of its layers: their states, from the same forward pass.

vLLM's classes tell inner states to the drafts of EAGLE-3, beside what they give out anyway; the same is asked of them
here, and nobody else learns of it. Layer K is the state after K layers: 0 is the embedding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from motet_decoding.engine import layers_private as private

if TYPE_CHECKING:
    from vllm.config import VllmConfig


class InnerLayers:
    """The layers of one model that can be asked for."""

    def __init__(self, model: Any, vllm_config: VllmConfig) -> None:
        """Finds them.

        Args:
            model: vLLM's, before its weights are loaded.
            vllm_config: whose ``hf_overrides`` say, under ``motet``, which layers may be asked for.

        Raises:
            LaunchError: where vLLM's class can't show them.
        """
        named = getattr(vllm_config.model_config.hf_config, "motet", None) or {}
        #: Rising, as they come out of a forward pass.
        self.known: tuple[int, ...] = tuple(sorted(named.get("layers", ())))
        if not self.known:
            return
        self._inner = private.inner_model(model, vllm_config.model_config.architecture)
        # Compiled, it always tells what it told when it was traced.
        self._fixed = private.is_compiled(self._inner)
        # vLLM maps the head's rows to adapters by their position in the batch, so that it takes all of them or none.
        self._whole_batch = vllm_config.lora_config is not None
        self._telling: tuple[int, ...] = ()
        if self._fixed:
            self._tell(self.known)
        elif 0 in self.known:
            private.keep_embedding(self._inner)

    def want(self, layers: tuple[int, ...]) -> tuple[int, ...]:
        """Has the next forward pass tell some layers; those of them that it will, rising."""
        wanted = tuple(layer for layer in self.known if layer in layers)
        if self.known and not self._fixed and wanted != self._telling:
            self._tell(wanted)
        return wanted

    def split(self, output: Any, wanted: tuple[int, ...]) -> tuple[Any, list[torch.Tensor]]:
        """A forward pass' hidden states, and the states after the ``wanted`` layers, each [tokens, hidden]."""
        if not self.known or not self._telling:
            return output, []
        hidden, states = output
        return hidden, [state for layer, state in zip(self._telling, states, strict=True) if layer in wanted]

    def before_head(self, states: torch.Tensor, rows: torch.Tensor | None) -> torch.Tensor:
        """The final norm of some rows of ``states``, [rows, hidden]; of all of them where the head must see all."""
        if rows is not None and not self._whole_batch:
            states = states[rows]
        return private.final_norm(self._inner, states)

    def after_head(self, logits: torch.Tensor, rows: torch.Tensor | None) -> torch.Tensor:
        """The ``rows`` that were asked for of what the head made of ``before_head``'s."""
        return logits[rows] if rows is not None and self._whole_batch else logits

    def _tell(self, layers: tuple[int, ...]) -> None:
        self._telling = layers
        private.tell_layers(self._inner, layers)
