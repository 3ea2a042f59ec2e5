"""The logits processor that lets other voices speak, for both of vLLM's model runners.

The V1 runner makes it with ``(vllm_config, device, is_pin_memory)``, tells it of every change in the batch and calls
``apply(logits)``; the V2 runner makes it with ``(vllm_config, request_states)``, gives each request a slot and calls
``apply(logits, context)``. Both faces come down to which rows ask for what: to a plan, and to carrying it out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import torch
from vllm.v1.sample.logits_processor import BatchUpdate
from vllm.v1.sample.logits_processor import LogitsProcessor as V1LogitsProcessor
from vllm.v1.worker.gpu.sample.logits_processor import LogitsContext
from vllm.v1.worker.gpu.sample.logits_processor import LogitsProcessor as V2LogitsProcessor

from motet_decoding.adapting import ByDivergence, ByEntropy
from motet_decoding.engine.arguments import Heard, Mix, engine_key, read_asked
from motet_decoding.engine.hearing import contrast_section
from motet_decoding.engine.mixing import Asking, Plan, plan_of
from motet_decoding.engine.places import follow
from motet_decoding.engine.stage import stage_of

if TYPE_CHECKING:
    from vllm import SamplingParams
    from vllm.config import VllmConfig


class ContrastProcessor(V1LogitsProcessor, V2LogitsProcessor):
    """Turns the asking rows' logits into contrastive scores, before temperature and truncation.

    A follower's row is heard by its leader's and never written. The rows of a group of which not all are in the batch
    are left alone: nothing is drawn from them.

    Grammar, bans and ``logit_bias`` come before it under both runners. Penalties come after it under V1 and before
    it under V2; presence and frequency penalties add up to the same score either way.
    """

    def __init__(self, vllm_config: VllmConfig, *runner: Any) -> None:
        self.key = engine_key()
        self.stage = stage_of(vllm_config)
        self.stage.processor = self
        #: By batch row (V1) or by slot (V2).
        self.asking: dict[int, Asking] = {}
        #: V1: the device and whether its memory is pinned. V2: vLLM's table of the requests in slots.
        self._runner = runner
        self._planned: tuple[tuple[tuple[int, Asking], ...], int, Plan] | None = None
        self._leading: tuple[torch.Tensor, torch.Tensor] | None = None

    @classmethod
    def validate_params(cls, sampling_params: SamplingParams) -> None:
        """Refuses what would end the engine if ``_asked`` met it; called where requests come in.

        Raises:
            ValueError: for a sampling argument under a key that only another server of ours could have written.
        """
        read_asked(sampling_params.extra_args, engine_key())

    def is_argmax_invariant(self) -> bool:
        """V1: it is not; a contrast is there to change the favourite."""
        return False

    # What V1 tells.

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """V1: follows the batch's rows; called before every forward pass."""
        self._leading = None
        if batch_update is None:
            return
        follow(
            self.asking,
            batch_update,
            lambda params, drawn: self._asked(params, drawn, edited=bool(params.logit_bias)),
        )
        self._expect(self.asking.values())

    # What V2 tells.

    def add_request(self, req_idx: int, sampling_params: SamplingParams) -> bool:
        """V2: notes the request of a slot; whether it wants this processor."""
        penalised = (
            sampling_params.presence_penalty != 0.0
            or sampling_params.frequency_penalty != 0.0
            or sampling_params.repetition_penalty != 1.0
        )
        asked = self._asked(sampling_params, edited=penalised or bool(sampling_params.logit_bias))
        if asked is None:
            self.asking.pop(req_idx, None)
            return False
        self.asking[req_idx] = asked
        return asked.contrast is not None

    def expect_slots(self, slots: Sequence[int]) -> None:
        """V2: the slots of the batch that is about to run; called by ``AskingModelState`` where that is in place."""
        self._leading = None
        self._expect([self.asking[slot] for slot in slots if slot in self.asking])

    # What both do.

    def apply(self, logits: torch.Tensor, context: LogitsContext | None = None) -> torch.Tensor:
        """Contrasts the asking rows of ``logits``, [rows, vocab], in place."""
        if context is None:
            asking = sorted(self.asking.items())
            self._contrast(logits, asking, lambda row: len(self.asking[row].drawn))
        else:
            slots = context.idx_mapping_np.tolist()
            asking = [(row, self.asking[slot]) for row, slot in enumerate(slots) if slot in self.asking]
            seen, prompts = context.seq_lens_upper_bound_np, self._runner[0].prompt_len
            self._contrast(logits, asking, lambda row: int(seen[row] - prompts.np[slots[row]]))
        return logits

    def leading(self) -> tuple[torch.Tensor, torch.Tensor] | None:
        """The followers' rows and their leaders' rows, int64 [followers] each, in the batch that ``apply`` just saw.

        Only of groups that are whole; None where there is none. Told once: the next draws have rows of their own.
        """
        leading, self._leading = self._leading, None
        return leading

    def rehearse(self, logits: torch.Tensor) -> None:
        """Contrasts a copy of ``logits``, [rows, vocab], and drops it: the room this takes is room vLLM must leave.

        All rows but one are taken to ask, and to be biased: picking them out takes more than all of them would. They
        ask for the amateur where there is one, and then, in groups of two, for all that a section works out at a time.
        """
        stage, asking = self.stage, max(1, len(logits) - 1)
        if stage.hidden is not None:
            self._rehearse(logits, [(row, Asking(Mix(), edited=True)) for row in range(asking)])
        voices = [Heard(source="member", member=1), Heard(source="member", member=1)]
        if stage.layer_states:
            voices[0] = Heard(source="layer", layers=tuple(stage.layer_states))
        mix = Mix(voices=tuple(voices), adapt=ByDivergence(by="divergence"))
        groups = range(len(logits) // 2)
        leaders = [(2 * group, Asking(mix, edited=True, group=group)) for group in groups]
        followers = [(2 * group + 1, Asking(None, group=group, member=1)) for group in groups]
        self._rehearse(logits, sorted(leaders + followers, key=itemgetter(0)))
        stage.clear()

    def _rehearse(self, logits: torch.Tensor, asking: Sequence[tuple[int, Asking]]) -> None:
        copied = logits.to(torch.float32, copy=True)  # float32 is what samplers hand to `apply`
        for section in plan_of(asking, len(logits), logits.device).sections:
            contrast_section(section, copied, self.stage, lambda row: 0)

    def _contrast(
        self, logits: torch.Tensor, asking: Sequence[tuple[int, Asking]], position: Callable[[int], int]
    ) -> None:
        if not asking:
            return
        try:
            plan = self._plan(tuple(asking), len(logits), logits.device)
            for section in plan.sections:
                contrast_section(section, logits, self.stage, position)
            self._leading = plan.leading
        finally:
            self.stage.clear()  # the sampler needs the room next

    def _asked(self, params: SamplingParams, drawn: Sequence[int] = (), *, edited: bool) -> Asking | None:
        asked = read_asked(params.extra_args, self.key)
        if asked.member:
            return Asking(None, group=asked.group, member=asked.member)
        if asked.contrast is None:
            return None
        edited = edited or (_compares(asked.contrast) and _masked(params))
        return Asking(asked.contrast, edited, asked.group, drawn=drawn)

    def _expect(self, asking: Iterable[Asking]) -> None:
        leaders = [(each, each.contrast) for each in asking if each.contrast is not None]
        layers = {layer for _, mix in leaders for voice in mix.voices for layer in voice.layers}
        self.stage.asking = any(mix.hears_amateur for _, mix in leaders)
        self.stage.editing = any(each.edited for each, _ in leaders)
        self.stage.wanted_layers = tuple(sorted(layers))

    def _plan(self, asking: tuple[tuple[int, Asking], ...], batch: int, device: torch.device) -> Plan:
        """The batch rarely changes from one step to the next, so neither does this."""
        if self._planned is None or self._planned[:2] != (asking, batch):
            self._planned = asking, batch, plan_of(asking, batch, device)
        return self._planned[2]


def _compares(mix: Mix) -> bool:
    """Whether the model's own prediction is compared with others or measured, so that no mask may be in it."""
    return isinstance(mix.adapt, ByEntropy | ByDivergence) or any(
        len(voice.layers) > 1 for voice in mix.voices
    )


def _masked(params: SamplingParams) -> bool:
    """Whether tokens are excluded before the contrast sees the logits."""
    return bool(
        params.structured_outputs is not None
        or params.bad_words
        or params.allowed_token_ids
        or params.min_tokens
    )
