"""Tensors of one batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from motet_alignment.train.plan import Batch
from motet_alignment.train.samples import Sample, Text

#: A label that carries no loss, to torch's and TRL's losses.
IGNORED = -100


@dataclass(frozen=True, slots=True)
class Collator:
    """Pads texts on the right; packs several into a row where the plan says so."""

    pad: int

    def __call__(self, batch: Batch, samples: Sequence[Sample]) -> dict[str, torch.Tensor]:
        """The model's inputs and the loss's.

        input_ids, labels [rows, tokens] (IGNORED where no loss is); attention_mask [rows, tokens], or for packed rows
        position_ids that begin anew with each text, by which attention stays inside it; `last` [rows] the place of
        each row's last token; `group` [rows] the sample each row belongs to, counted in this batch; `rank` [rows] the
        place in its sample; per sample `margin`, `confidence`, `score`; `pretraining` and `reference` [rows].
        A sample's texts stand in neighbouring rows.
        """
        if any(len(row) > 1 for row in batch):
            return self._packed(batch, samples)
        chosen = [samples[row[0]] for row in batch]
        texts = [text for sample in chosen for text in sample.texts]
        width = max(len(text.ids) for text in texts)
        return {
            "input_ids": self._padded([text.ids for text in texts], width, self.pad),
            "labels": self._padded([_labels(text) for text in texts], width, IGNORED),
            "attention_mask": self._padded([[1] * len(text.ids) for text in texts], width, 0),
            "last": torch.tensor([len(text.ids) - 1 for text in texts]),
            "group": torch.tensor([place for place, sample in enumerate(chosen) for _ in sample.texts]),
            "rank": torch.tensor([place for sample in chosen for place, _ in enumerate(sample.texts)]),
            "margin": torch.tensor([sample.margin for sample in chosen]),
            "confidence": torch.tensor([sample.confidence for sample in chosen]),
            "score": torch.tensor([sample.score for sample in chosen]),
            "pretraining": torch.tensor([sample.pretraining for sample in chosen for _ in sample.texts]),
            "reference": torch.tensor([value for sample in chosen for value in sample.reference]),
        }

    def _packed(self, batch: Batch, samples: Sequence[Sample]) -> dict[str, torch.Tensor]:
        rows = [[samples[place].texts[0] for place in row] for row in batch]
        width = max(sum(len(text.ids) for text in row) for row in rows)
        places = [[place for text in row for place in range(len(text.ids))] for row in rows]
        # Padding is a text of its own that begins anew at every token: nothing sees it, and it sees nothing.
        return {
            "input_ids": self._padded(
                [[i for text in row for i in text.ids] for row in rows], width, self.pad
            ),
            "labels": self._padded(
                [[i for text in row for i in _labels(text)] for row in rows], width, IGNORED
            ),
            "position_ids": self._padded(places, width, 0),
            "pretraining": self._padded(
                [
                    [samples[place].pretraining for place in row for _ in samples[place].texts[0].ids]
                    for row in batch
                ],
                width,
                0,
            ).bool(),
        }

    def _padded(self, rows: Sequence[Sequence[int]], width: int, value: int) -> torch.Tensor:
        return torch.tensor([[*row, *[value] * (width - len(row))] for row in rows])


def _labels(text: Text) -> list[int]:
    # A text's first token is nobody's target, also where it follows another text in a packed row.
    marked = [token if mark else IGNORED for token, mark in zip(text.ids, text.mask, strict=True)]
    return [IGNORED, *marked[1:]]


class Batches(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    """One process's batches, each with what the whole step's loss is divided by."""

    def __init__(
        self,
        batches: Sequence[Batch],
        samples: Sequence[Sample],
        collator: Collator,
        totals: Sequence[Sequence[float]],
    ) -> None:
        self._batches, self._samples, self._collator, self._totals = batches, samples, collator, totals

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, place: int) -> dict[str, torch.Tensor]:
        tensors = self._collator(self._batches[place], self._samples)
        return {**tensors, "totals": torch.tensor(self._totals[place], dtype=torch.float32)}


def only(batch: list[dict[str, Any]]) -> dict[str, Any]:
    """The collate function of a loader whose dataset holds whole batches."""
    (whole,) = batch
    return whole
