"""Supervised fine-tuning on TRL's SFTTrainer."""

from __future__ import annotations

from typing import Any

import torch
from trl import SFTConfig, SFTTrainer

from motet_alignment.train.batches import IGNORED
from motet_alignment.train.losses import mixed
from motet_alignment.train.samples import Sample
from motet_alignment.train.trainer import Inputs, PlannedTrainer, Tally

CONFIG = SFTConfig
#: Data is tokenised and batched by us.
OPTIONS: dict[str, Any] = {"dataset_kwargs": {"skip_prepare_dataset": True}, "max_length": None}


class SftTrainer(PlannedTrainer, SFTTrainer):
    """Cross-entropy of the tokens that carry loss, mixed with that of pretraining text where there is any."""

    mix: float = 1.0

    def weigh(self, sample: Sample) -> tuple[float, ...]:
        """(Tokens that carry loss, 0) of an example, (0, tokens) of pretraining text."""
        tokens = float(sum(sample.texts[0].mask[1:]))
        return (0.0, tokens) if sample.pretraining else (tokens, 0.0)

    def step_totals(self) -> list[tuple[float, ...]]:
        """With text in the run, the mean over its steps instead of each step's own.

        Batches hold texts of like length, so that many steps have examples or text alone. Divided by their own tokens
        such steps would all count alike, whatever `mix` says; divided by the mean, the run's steps add up to it.
        """
        totals = super().step_totals()
        if not any(text for _, text in totals):
            return totals
        mean = tuple(sum(parts) / len(totals) for parts in zip(*totals, strict=True))
        return [mean] * len(totals)

    def losses(self, model: Any, inputs: Inputs) -> torch.Tensor:
        """The batch's part of mix * L_instruction + (1 - mix) * L_LM; without text in the run, of L_instruction."""
        logprobs = self._logprobs(model, inputs)
        # A label's place holds whether its token is text's; rows of one sample have one answer for all places.
        text = inputs["pretraining"]
        text = text[:, 1:] if text.ndim == 2 else text[:, None].expand_as(logprobs)
        instruction = -(logprobs * ~text).sum()
        if not inputs["totals"][1]:
            return instruction / inputs["totals"][0].clamp(min=1)
        return mixed(instruction, -(logprobs * text).sum(), inputs["totals"], self.mix)

    def judge(self, model: Any, inputs: Inputs, tally: Tally) -> None:
        """Each held-out conversation's cross-entropy and its tokens."""
        logprobs = self._logprobs(model, inputs)
        tally.losses += (-logprobs).sum(-1).tolist()
        tally.weights += (inputs["labels"][:, 1:] != IGNORED).sum(-1).tolist()

    def _logprobs(self, model: Any, inputs: Inputs) -> torch.Tensor:  # [rows, tokens - 1], 0 where no loss is
        given = {key: inputs[key] for key in ("attention_mask", "position_ids") if key in inputs}
        # TRL's fused head makes no [rows, tokens, vocabulary] logits.
        return model(
            input_ids=inputs["input_ids"], labels=inputs["labels"], fused_lm_head=True, **given
        ).log_probs
