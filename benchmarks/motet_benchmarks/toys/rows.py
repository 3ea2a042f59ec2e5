"""From conversations to training rows: token ids, weights of the loss, positions.

Conversations are packed whole into rows of one length. Positions start at 0 with each of them, by which the model's
attention mask knows where one ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from transformers import PreTrainedTokenizerFast

from motet_benchmarks.toys.corpus import Conversation
from motet_benchmarks.toys.tokenizer import END, END_OF_TEXT, START


@dataclass(frozen=True, slots=True)
class Encoded:
    """One conversation in tokens; `written` marks what the assistant wrote."""

    ids: list[int]
    written: list[bool]


@dataclass(frozen=True, slots=True)
class Batch:
    """Packed rows. `weights[r, t]` weighs the loss of predicting `ids[r, t]` from what stands before it."""

    ids: torch.Tensor  # [rows, row] int64
    positions: torch.Tensor  # [rows, row] int64
    weights: torch.Tensor  # [rows, row] float32
    tokens: int
    """Tokens of text; the rest is filling."""


class Encoder:
    """Turns conversations into the ids that the chat template gives, without the cost of rendering it."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self._backend = tokenizer.backend_tokenizer
        self._start, self._end, self.pad = tokenizer.convert_tokens_to_ids([START, END, END_OF_TEXT])
        self._newline = self._plain("\n")

    def _plain(self, text: str) -> list[int]:
        return list(self._backend.encode(text, add_special_tokens=False).ids)

    def encode(self, conversation: Conversation) -> Encoded:
        """The conversation's ids, and which of them a loss on the assistant's words counts."""
        ids: list[int] = []
        written: list[bool] = []
        for message in conversation.messages():
            opening = [self._start, *self._plain(f"{message['role']}\n")]
            content = [*self._plain(message["content"]), self._end]
            ids += [*opening, *content, *self._newline]
            counts = message["role"] == "assistant"
            written += [False] * len(opening) + [counts] * len(content) + [False] * len(self._newline)
        return Encoded(ids, written)


def batches(
    conversations: Iterable[Conversation], encoder: Encoder, *, rows: int, row: int, prompt_weight: float
) -> Iterator[Batch]:
    """Batches of `rows` packed rows of `row` tokens; conversations longer than a row are left out."""
    waiting: list[Encoded] = []
    tokens = 0
    for conversation in conversations:
        encoded = encoder.encode(conversation)
        if len(encoded.ids) > row:
            continue
        waiting.append(encoded)
        tokens += len(encoded.ids)
        if tokens >= rows * row:
            packed, waiting = _pack(waiting, rows, row)
            tokens = sum(len(one.ids) for one in waiting)
            yield _batch(packed, row, encoder.pad, prompt_weight)


def _pack(waiting: Sequence[Encoded], rows: int, row: int) -> tuple[list[list[Encoded]], list[Encoded]]:
    """First fit, longest first; also returns what found no room."""
    packed: list[list[Encoded]] = [[] for _ in range(rows)]
    room = [row] * rows
    left: list[Encoded] = []
    for one in sorted(waiting, key=lambda one: -len(one.ids)):
        for place in range(rows):
            if room[place] >= len(one.ids):
                packed[place].append(one)
                room[place] -= len(one.ids)
                break
        else:
            left.append(one)
    return packed, left


def _batch(packed: Sequence[Sequence[Encoded]], row: int, pad: int, prompt_weight: float) -> Batch:
    ids = np.full((len(packed), row), pad, dtype=np.int64)
    positions = np.zeros((len(packed), row), dtype=np.int64)
    weights = np.zeros((len(packed), row), dtype=np.float32)
    for number, encoded in enumerate(packed):
        place = 0
        for one in encoded:
            end = place + len(one.ids)
            ids[number, place:end] = one.ids
            positions[number, place:end] = np.arange(len(one.ids))
            weights[number, place:end] = np.where(one.written, 1.0, prompt_weight)
            # What comes first in a conversation can't be predicted from the one before.
            weights[number, place] = 0.0
            place = end
        # Filling is a conversation of its own without weight.
        positions[number, place:] = np.arange(row - place)
    tokens = sum(len(one.ids) for encoded in packed for one in encoded)
    return Batch(torch.from_numpy(ids), torch.from_numpy(positions), torch.from_numpy(weights), tokens)
