"""Rollouts as tensors: prompts end and answers begin in the same column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from motet_alignment.train.ppo.rollout import Rollout


@dataclass(frozen=True, slots=True)
class Microbatch:
    """Answers that go through the model together; prompts are padded on the left, answers on the right.

    So that the answers' columns are the same in every row, and only theirs need logits.
    """

    #: Which rollouts of the iteration these are [rows].
    places: Tensor
    #: Prompts and answers [rows, prompt tokens + answer tokens].
    ids: Tensor
    #: 1 where `ids` holds a token rather than padding, of the same shape.
    attention: Tensor
    #: The answers' tokens [rows, answer tokens]; 0 behind an answer's end.
    answers: Tensor
    #: Whether an answer has a token there [rows, answer tokens].
    mask: Tensor

    def inputs(self) -> dict[str, Tensor]:
        """What a transformers model takes."""
        positions = (self.attention.cumsum(-1) - 1).clamp(min=0)
        return {"input_ids": self.ids, "attention_mask": self.attention, "position_ids": positions}

    def of(self, table: Tensor) -> Tensor:
        """These rows of a table over all rollouts [rollouts, longest answer], cut to this batch's longest answer."""
        return table[self.places.to(table.device), : self.answers.shape[1]].to(self.ids.device)


def collate(rollouts: Sequence[Rollout], places: Sequence[int], device: str) -> Microbatch:
    """One microbatch of `rollouts[places]`."""
    chosen = [rollouts[place] for place in places]
    before = max(len(rollout.prompt.ids) for rollout in chosen)
    behind = max(len(rollout.ids) for rollout in chosen)
    ids = torch.zeros(len(chosen), before + behind, dtype=torch.long)
    attention = torch.zeros_like(ids)
    for row, rollout in enumerate(chosen):
        begin, end = before - len(rollout.prompt.ids), before + len(rollout.ids)
        ids[row, begin:end] = torch.tensor([*rollout.prompt.ids, *rollout.ids])
        attention[row, begin:end] = 1
    return Microbatch(
        torch.tensor(places),
        ids.to(device),
        attention.to(device),
        ids[:, before:].to(device),
        attention[:, before:].bool().to(device),
    )


def cut(rollouts: Sequence[Rollout], places: Sequence[int], tokens: int) -> list[list[int]]:
    """`places` in microbatches of at most `tokens` tokens each, padding included, and of one rollout at least.

    Answers of like length share one, longest first: what doesn't fit into memory shows at once.
    """
    order = sorted(
        places, key=lambda place: (-len(rollouts[place].ids), -len(rollouts[place].prompt.ids), place)
    )
    batches: list[list[int]] = []
    before = behind = 0
    for place in order:
        before = max(before, len(rollouts[place].prompt.ids))
        behind = max(behind, len(rollouts[place].ids))
        if not batches or (len(batches[-1]) + 1) * (before + behind) > tokens:
            batches.append([])
            before, behind = len(rollouts[place].prompt.ids), len(rollouts[place].ids)
        batches[-1].append(place)
    return batches
