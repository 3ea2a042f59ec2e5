"""The logits processor that lets the amateur speak, for both of vLLM's model runners.

The V1 runner makes it with ``(vllm_config, device, is_pin_memory)``, tells it of every change in the batch and calls
``apply(logits)``; the V2 runner makes it with ``(vllm_config, request_states)``, gives each request a slot and calls
``apply(logits, context)``. Both faces come down to which rows ask for what, and to one call of the kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from vllm.v1.sample.logits_processor import BatchUpdate
from vllm.v1.sample.logits_processor import LogitsProcessor as V1LogitsProcessor
from vllm.v1.worker.gpu.sample.logits_processor import LogitsContext
from vllm.v1.worker.gpu.sample.logits_processor import LogitsProcessor as V2LogitsProcessor

from motet_decoding.engine.arguments import Mix, engine_key, read_contrast
from motet_decoding.engine.places import follow
from motet_decoding.engine.stage import stage_of
from motet_kernels.contrast import ContrastRows, contrast

if TYPE_CHECKING:
    from vllm import SamplingParams
    from vllm.config import VllmConfig


@dataclass(frozen=True, slots=True)
class _Asking:
    """What one request asks for, and whether its logits are biased or penalised before the contrast sees them."""

    contrast: Mix
    edited: bool


def _rows(asking: Sequence[tuple[int, _Asking]], batch: int, device: torch.device) -> ContrastRows:
    """The asking rows, in row order, as the kernel wants them."""
    asked = [entry.contrast for _, entry in asking]
    numbers = torch.tensor(
        [[c.strength, c.plausibility, c.amateur_temperature] for c in asked], device=device
    )
    return ContrastRows.of(
        numbers[:, 0],
        numbers[:, 1],
        torch.tensor([c.form == "extrapolate" for c in asked], device=device),
        numbers[:, 2],
        None if len(asking) == batch else torch.tensor([row for row, _ in asking], device=device),
    )


class ContrastProcessor(V1LogitsProcessor, V2LogitsProcessor):
    """Turns the asking rows' logits into contrastive scores, before temperature and truncation.

    Grammar, bans and ``logit_bias`` come before it under both runners. Penalties come after it under V1 and before
    it under V2; presence and frequency penalties add up to the same score either way.
    """

    def __init__(self, vllm_config: VllmConfig, *runner: Any) -> None:
        self.key = engine_key()
        self.stage = stage_of(vllm_config)
        self.stage.processor = self
        #: By batch row (V1) or by slot (V2).
        self.asking: dict[int, _Asking] = {}
        self._rows: tuple[tuple[tuple[int, _Asking], ...], int, ContrastRows] | None = None

    @classmethod
    def validate_params(cls, sampling_params: SamplingParams) -> None:
        """Refuses what would end the engine if ``_asked`` met it; called where requests come in.

        Raises:
            ValueError: for a sampling argument under a key that only another server of ours could have written.
        """
        read_contrast(sampling_params.extra_args, engine_key())

    def is_argmax_invariant(self) -> bool:
        """V1: it is not; a contrast is there to change the favourite."""
        return False

    # What V1 tells.

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """V1: follows the batch's rows; called before every forward pass."""
        if batch_update is None:
            return
        follow(
            self.asking,
            batch_update,
            lambda params, _: self._asked(params, edited=bool(params.logit_bias)),
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
        return True

    def expect_slots(self, slots: Sequence[int]) -> None:
        """V2: the slots of the batch that is about to run; called by ``AskingModelState``."""
        self._expect([self.asking[slot] for slot in slots if slot in self.asking])

    # What both do.

    def apply(self, logits: torch.Tensor, context: LogitsContext | None = None) -> torch.Tensor:
        """Contrasts the asking rows of ``logits``, [rows, vocab], in place."""
        if context is None:
            asking = sorted(self.asking.items())
        else:
            slots = context.idx_mapping_np.tolist()
            asking = [(row, self.asking[slot]) for row, slot in enumerate(slots) if slot in self.asking]
        if not asking:
            return logits
        try:
            return self._contrast(logits, self._tensors(tuple(asking), len(logits), logits.device))
        finally:
            self.stage.clear()  # the sampler needs the room next

    def rehearse(self, logits: torch.Tensor) -> None:
        """Contrasts a copy of ``logits``, [rows, vocab], and drops it: the room this takes is room vLLM must leave.

        All rows but one are taken to ask, and to be biased: picking them out takes more than all of them would.
        """
        asking = [(row, _Asking(Mix(), edited=True)) for row in range(max(1, len(logits) - 1))]
        rows = _rows(asking, len(logits), logits.device)
        self._contrast(logits.to(torch.float32, copy=True), rows)  # float32 is what samplers hand to `apply`
        self.stage.clear()

    def _contrast(self, logits: torch.Tensor, rows: ContrastRows) -> torch.Tensor:
        hidden, unedited, head = self.stage.hidden, self.stage.unedited, self.stage.head
        if hidden is None or head is None:
            raise RuntimeError("a contrast request reached sampling without the amateur having run")
        if rows.index is not None:
            hidden = hidden[rows.index]
            unedited = None if unedited is None else unedited[rows.index]
        return contrast(logits, head(hidden), rows, unedited=unedited)

    def _asked(self, params: SamplingParams, *, edited: bool) -> _Asking | None:
        contrast = read_contrast(params.extra_args, self.key)
        return None if contrast is None else _Asking(contrast, edited)

    def _expect(self, asking: Any) -> None:
        entries = list(asking)
        self.stage.asking = bool(entries)
        self.stage.editing = any(entry.edited for entry in entries)

    def _tensors(
        self, asking: tuple[tuple[int, _Asking], ...], batch: int, device: torch.device
    ) -> ContrastRows:
        """The batch rarely changes from one step to the next, so neither do these."""
        if self._rows is None or self._rows[0] != asking or self._rows[1] != batch:
            self._rows = asking, batch, _rows(asking, batch, device)
        return self._rows[2]
