"""Two models in one engine: any architecture as the expert, any other of the same vocabulary as the amateur.

``PairedLlamaForCausalLM`` and its like are vLLM's own classes with a second model inside, and
``ScoredLlamaForCausalLM`` those whose hidden states reward adapters can score, which the paired ones can as well; both
are made on demand by this module's ``__getattr__``. As subclasses they keep what vLLM asks of the expert: LoRA,
quantisation, weight names.

In a step with an asking request both models run on the same tokens and their hidden states travel side by side on
the last axis, so that vLLM's choice of the rows to sample picks the same rows of both; the states between the expert's
own layers, where they are asked for, come behind them. In any other step the amateur does not run at all, no layer's
states are kept, and the narrower hidden state says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from motet_decoding.engine import PAIRED, SCORED, vllm_private
from motet_decoding.engine.layers import InnerLayers
from motet_decoding.engine.measuring import NO_ROWS
from motet_decoding.engine.scoring import write_number, write_rewards
from motet_decoding.engine.stage import Stage, stage_of

if TYPE_CHECKING:
    from vllm.config import ModelConfig, VllmConfig

_AMATEUR = "amateur"


class ScoringModel(nn.Module):
    """The part before any generating class of vLLM's by which its states can be scored and its layers heard."""

    stage: Stage
    inner_layers: InnerLayers
    #: Widths of what the last forward pass gave out side by side: the model's own states, the amateur's, the layers'.
    _widths: tuple[int, ...] = ()
    #: The layers among them.
    _told: tuple[int, ...] = ()

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        super().__init__(vllm_config=vllm_config, prefix=prefix)
        self.stage = stage_of(vllm_config)
        self.inner_layers = InnerLayers(self, vllm_config)
        self.stage.layers, self.stage.layer_head = self.inner_layers.known, self._layer_logits

    def forward(
        self,
        input_ids: torch.Tensor,
        positions: torch.Tensor,
        intermediate_tensors: Any = None,
        inputs_embeds: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """Hidden states, [tokens, hidden]; with those that the step asks for beside them.

        On the first ranks of a pipeline, what goes to the next.
        """
        stage = self.stage
        stage.clear()
        stage.sampling, stage.rehearsing = True, vllm_private.in_dummy_run()
        stage.steps += not stage.rehearsing
        self._told = self.inner_layers.want(stage.layers if stage.rehearsing else stage.wanted_layers)
        output = super().forward(input_ids, positions, intermediate_tensors, inputs_embeds, **kwargs)
        own, layers = self.inner_layers.split(output, self._told)
        states = [own, *self._beside(input_ids, positions), *layers]
        if len(states) == 1:
            self._widths = ()
            return own
        self._widths = tuple(state.shape[-1] for state in states)
        return torch.cat(states, dim=-1)

    def _beside(self, input_ids: torch.Tensor, positions: torch.Tensor) -> list[torch.Tensor]:
        """The second model's states for the same tokens, [tokens, its hidden], where there is one and it is asked."""
        return []

    def compute_logits(self, hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor | None:
        """The model's logits, [rows, vocab]; those of rows that tell a number hold it instead.

        What came beside its own hidden states is left on the stage, for the rows to sample.
        """
        stage = self.stage
        wide = bool(self._widths) and hidden_states.shape[-1] == sum(self._widths)
        own, *beside = hidden_states.split(self._widths, dim=-1) if wide else (hidden_states,)
        logits: torch.Tensor | None = super().compute_logits(own, *args, **kwargs)  # type: ignore[misc]
        rows, stage.rows = stage.rows, NO_ROWS  # prompt logprobs are computed after them, of other rows
        if logits is not None:
            if rows.measured:
                stage.measurements.keep(logits, rows.measured)
            if rows.scored:
                write_rewards(logits, own, rows.scored)
            for row, reading in rows.read:
                write_number(logits, row, stage.measurements.read(reading))
        if stage.sampling:
            stage.sampling = False
            self._leave(logits, beside)
        return logits

    def _leave(self, logits: torch.Tensor | None, beside: list[torch.Tensor]) -> None:
        """Leaves on the stage what a contrast takes."""
        stage, others = self.stage, len(beside) - len(self._told) if beside else 0
        stage.hidden = beside[0] if others else None
        stage.layer_states = dict(zip(self._told, beside[others:], strict=True)) if beside else {}
        if logits is None or stage.processor is None:
            return
        # Biases and masks are written into these very logits, so an untouched copy must be made here or never.
        if stage.editing or stage.rehearsing:
            stage.unedited = logits.clone()
        if stage.rehearsing:
            stage.processor.rehearse(logits)

    def _layer_logits(self, states: torch.Tensor, rows: torch.Tensor | None) -> torch.Tensor:
        logits: torch.Tensor = super().compute_logits(self.inner_layers.before_head(states, rows))  # type: ignore[misc]
        return self.inner_layers.after_head(logits, rows)

    @property
    def compute_logits_local(self) -> Any:
        """Absent on purpose: vLLM would sample from a shard of the logits and never meet a reward or a contrast."""
        raise AttributeError("compute_logits_local")

    def get_model_state_cls(self) -> type[Any]:
        """vLLM's V2 runner asks the model for the class that prepares its inputs."""
        from motet_decoding.engine.model_state import AskingModelState

        return AskingModelState


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
        self.stage.head = self.amateur.compute_logits

    @property
    def amateur(self) -> Any:
        """The second model."""
        return self._second[0]

    def _beside(self, input_ids: torch.Tensor, positions: torch.Tensor) -> list[torch.Tensor]:
        stage = self.stage
        if not stage.rehearsing:
            stage.amateur_steps += stage.asking
            if not stage.asking:
                return []
        return [self.amateur(input_ids, positions, None, None)]

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
            # A compiled ``forward`` would freeze what a step asks for.
            vllm_private.compiled_inside_only(own)
            return own
    raise AttributeError(name)


def __getattr__(name: str) -> type[nn.Module]:
    return own_class(name)
