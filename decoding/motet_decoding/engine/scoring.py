"""The engine's part of rewards and certainties: which rows of a step carry one, and how it gets into their logits."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from vllm.v1.sample.logits_processor import BatchUpdate
from vllm.v1.sample.logits_processor import LogitsProcessor as V1LogitsProcessor
from vllm.v1.worker.gpu.sample.logits_processor import LogitsContext
from vllm.v1.worker.gpu.sample.logits_processor import LogitsProcessor as V2LogitsProcessor

from motet_decoding.engine.arguments import Asked, engine_key, read_asked
from motet_decoding.engine.measuring import NO_ROWS, Rows
from motet_decoding.engine.places import follow
from motet_decoding.engine.rewards import PARTS
from motet_decoding.engine.stage import stage_of

if TYPE_CHECKING:
    from vllm import SamplingParams
    from vllm.config import VllmConfig

_LOG = logging.getLogger(__name__)

#: Heads kept in a worker's memory; each is one vector.
_HEADS = 256


def write_rewards(logits: torch.Tensor, hidden: torch.Tensor, scored: Sequence[tuple[int, Path]]) -> None:
    """Puts the rewards of some rows in the place of their logits.

    Args:
        logits: [rows, vocab], changed in place.
        hidden: the hidden states they came from, [rows, hidden].
        scored: rows and the files of their heads.
    """
    for row, head in scored:
        weight = _head(head, hidden.shape[1], hidden.device)
        # In float32, whatever the model's type: rewards are compared by their small differences.
        write_number(logits, row, None if weight is None else weight @ hidden[row].float())


def write_number(logits: torch.Tensor, row: int, number: torch.Tensor | None) -> None:
    """Puts a number in the place of a row of logits, [rows, vocab], in parts that ``read_number`` puts together.

    Args:
        number: a scalar; None where there is none, which will be noticed.
    """
    logits[row] = -torch.inf
    logits[row, 0] = 0.0
    if number is not None:
        for token in range(1, 1 + PARTS):
            logits[row, token] = number.to(logits.dtype)
            number = number - logits[row, token].float()


def _head(file: Path, width: int, device: torch.device) -> torch.Tensor | None:
    """A head, float32 [width]; None for a file that can't be used, since raising here would end the engine."""
    try:
        return _read_head(file, width, device)
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        _LOG.error("motet: reward head %s can't be used: %s", file, error)
        return None


@lru_cache(maxsize=_HEADS)
def _read_head(file: Path, width: int, device: torch.device) -> torch.Tensor:
    # What raises is not cached: the file may be there the next time.
    weight = load_file(file)["score.weight"]
    if weight.shape != (1, width):
        raise ValueError(
            f"score.weight is {list(weight.shape)}, and the model's hidden states need [1, {width}]"
        )
    return weight[0].to(device, torch.float32)


@dataclass(frozen=True, slots=True)
class _Asking:
    """What one request asks for, and under V1 the running list of its drawn tokens."""

    asked: Asked
    drawn: Sequence[int] = ()


class ScoringProcessor(V1LogitsProcessor, V2LogitsProcessor):
    """Knows which requests of a step are to be scored or measured; the logits it leaves alone."""

    def __init__(self, vllm_config: VllmConfig, *runner: Any) -> None:
        self.key = engine_key()
        self.stage = stage_of(vllm_config)
        self.stage.scoring = self
        #: By batch row (V1) or by slot (V2).
        self.asking: dict[int, _Asking] = {}

    @classmethod
    def validate_params(cls, sampling_params: SamplingParams) -> None:
        """Refuses what would end the engine if ``_asked`` met it; called where requests come in.

        Raises:
            ValueError: for a sampling argument under a key that only another server of ours could have written, or
                several answers that would be measured as one.
        """
        asked = read_asked(sampling_params.extra_args, engine_key())
        if asked.measure is not None and sampling_params.n != 1:
            raise ValueError(f"n: a measured engine request has one answer, not {sampling_params.n}")

    def is_argmax_invariant(self) -> bool:
        """V1: it changes nothing at all."""
        return True

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """V1: follows the batch's rows; called before every forward pass."""
        if batch_update is not None:
            follow(self.asking, batch_update, self._asked)
        self._expect(
            [
                (row, each.asked, len(each.drawn))
                for row, each in sorted(self.asking.items(), key=itemgetter(0))
            ]
        )

    def add_request(self, req_idx: int, sampling_params: SamplingParams) -> bool:
        """V2: notes the request of a slot; never wants to see its logits."""
        asking = self._asked(sampling_params)
        if asking is None:
            self.asking.pop(req_idx, None)
        else:
            self.asking[req_idx] = asking
        return False

    def expect_slots(self, slots: Sequence[int], tokens: Sequence[int]) -> None:
        """V2: the batch that is about to run.

        Args:
            slots: in the order of its rows.
            tokens: which token of its answer each row draws; below 0 inside the prompt.
        """
        self._expect(
            [
                (row, self.asking[slot].asked, token)
                for row, (slot, token) in enumerate(zip(slots, tokens, strict=True))
                if slot in self.asking
            ]
        )

    def apply(self, logits: torch.Tensor, context: LogitsContext | None = None) -> torch.Tensor:
        """``logits`` as they are."""
        return logits

    def _expect(self, asking: Sequence[tuple[int, Asked, int]]) -> None:
        self.stage.begin()
        if not asking:
            self.stage.rows = NO_ROWS
            return
        self.stage.rows = Rows(
            scored=[(row, asked.reward_head) for row, asked, _ in asking if asked.reward_head is not None],
            measured=[
                (row, asked.measure, token) for row, asked, token in asking if asked.measure is not None
            ],
            read=[(row, asked.reading) for row, asked, _ in asking if asked.reading is not None],
        )

    def _asked(self, params: SamplingParams, drawn: Sequence[int] = ()) -> _Asking | None:
        asked = read_asked(params.extra_args, self.key)
        wanted = asked.reward_head is not None or asked.measure is not None or asked.reading is not None
        return _Asking(asked, drawn) if wanted else None
