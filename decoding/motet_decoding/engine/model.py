"""Two models in one engine: any architecture as the expert, any other of the same vocabulary as the amateur.

``PairedLlamaForCausalLM`` and its like are vLLM's own classes with a second model inside, and
``ScoredLlamaForCausalLM`` those whose hidden states reward adapters can score, which the paired ones can as well; both
are made on demand by this module's ``__getattr__``. As subclasses they keep what vLLM asks of the expert: LoRA,
quantisation, weight names.

In a step with an asking request both models run on the same tokens and their hidden states travel side by side on
the last axis, so that vLLM's choice of the rows to sample picks the same rows of both. In any other step the amateur
does not run at all, and the narrower hidden state says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from motet_decoding.engine import PAIRED, SCORED, vllm_private
from motet_decoding.engine.scoring import ScoringModel

if TYPE_CHECKING:
    from vllm.config import ModelConfig, VllmConfig

_AMATEUR = "amateur"


class PairedModel(ScoringModel):
    """The part that every paired class puts before the expert's own class."""

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        super().__init__(vllm_config=vllm_config, prefix=prefix)
        expert, load_format = vllm_config.model_config, vllm_config.load_config.load_format
        if load_format not in vllm_private.two_checkpoint_formats():
            raise ValueError(f"load_format: {load_format} can't load an amateur beside the expert")
        config = vllm_private.second_model_config(vllm_config, _amateur_config(expert))
        # Kept out of the module tree: vLLM puts LoRA layers, sized for the expert's batch, over all it finds there.
        self._second = (vllm_private.build_model(config, _AMATEUR), config.model_config)
        # The amateur's come last: `load_weights` takes all that follows its first name for its own.
        self.secondary_weights = [
            *getattr(self, "secondary_weights", ()),
            vllm_private.weights_source(*self._second, f"{_AMATEUR}."),
        ]
        #: Width of the hidden states that the expert gives out, which some project to another than their layers'.
        self.expert_width = expert.get_hidden_size()
        self.stage.head = self.amateur.compute_logits

    @property
    def amateur(self) -> Any:
        """The second model."""
        return self._second[0]

    def forward(
        self,
        input_ids: torch.Tensor,
        positions: torch.Tensor,
        intermediate_tensors: Any = None,
        inputs_embeds: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> torch.Tensor:
        """Hidden states, [tokens, expert_hidden]; with the amateur's behind them where it ran."""
        stage = self.stage
        stage.clear()
        stage.sampling, stage.rehearsing = True, vllm_private.in_dummy_run()
        expert = super().forward(input_ids, positions, intermediate_tensors, inputs_embeds, **kwargs)
        self.expert_width = expert.shape[-1]
        if not stage.rehearsing:
            stage.steps += 1
            stage.amateur_steps += stage.asking
            if not stage.asking:
                return expert
        amateur = self.amateur(input_ids, positions, None, None)
        return torch.cat([expert, amateur], dim=-1)

    def compute_logits(self, hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor | None:
        """The expert's logits, [rows, vocab]; the amateur's hidden rows are left on the stage."""
        width, stage = self.expert_width, self.stage
        paired = hidden_states.shape[-1] > width
        expert_states = hidden_states[:, :width] if paired else hidden_states
        logits: torch.Tensor | None = super().compute_logits(expert_states, *args, **kwargs)
        if not paired or not stage.sampling:
            return logits
        stage.sampling, stage.hidden = False, hidden_states[:, width:]
        # Biases and masks are written into these very logits, so an untouched copy must be made here or never.
        if logits is not None and (stage.editing or stage.rehearsing):
            stage.unedited = logits.clone()
        if logits is not None and stage.rehearsing and stage.processor is not None:
            stage.processor.rehearse(logits)
        return logits

    def load_weights(self, weights: Iterable[tuple[str, torch.Tensor]]) -> set[str]:
        """Loads both checkpoints; the amateur's names arrive under its prefix, behind the expert's."""
        stream, prefix = iter(weights), f"{_AMATEUR}."
        first: list[tuple[str, torch.Tensor]] = []

        def expert_weights() -> Iterator[tuple[str, torch.Tensor]]:
            for name, tensor in stream:
                if name.startswith(prefix):
                    first.append((name, tensor))
                    return
                yield name, tensor

        loaded: set[str] = super().load_weights(expert_weights())  # type: ignore[misc]
        amateur_weights = ((name.removeprefix(prefix), tensor) for name, tensor in chain(first, stream))
        vllm_private.load_model(*self._second, amateur_weights)
        return loaded


def _amateur_config(expert: ModelConfig) -> ModelConfig:
    from vllm.config import ModelConfig

    named = expert.hf_config.motet
    return ModelConfig(
        model=named["amateur"],
        revision=named["revision"],
        dtype=expert.dtype,
        max_model_len=expert.max_model_len,
        seed=expert.seed,
        enforce_eager=expert.enforce_eager,
        hf_token=expert.hf_token,
    )


@cache
def own_class(name: str) -> type[nn.Module]:
    """The class of ours over vLLM's for an architecture: ``PAIRED`` or ``SCORED``, then its name.

    Raises:
        AttributeError: for another name, or when vLLM doesn't know the architecture.
    """
    for prefix, part in ((PAIRED, PairedModel), (SCORED, ScoringModel)):
        if name.startswith(prefix):
            try:
                theirs = vllm_private.architecture_class(name.removeprefix(prefix))
            except KeyError:
                raise AttributeError(f"vLLM has no architecture {name.removeprefix(prefix)}") from None
            own = type(name, (part, theirs), {"__module__": __name__, "__qualname__": name})
            if part is PairedModel:
                # A compiled ``forward`` would freeze whether the amateur runs.
                vllm_private.compiled_inside_only(own)
            return own
    raise AttributeError(name)


def __getattr__(name: str) -> type[nn.Module]:
    return own_class(name)
