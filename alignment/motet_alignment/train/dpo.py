"""Direct preference optimization on TRL's DPOTrainer, the reference's log-probabilities computed once, beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, Literal

import torch
from trl import DPOConfig, DPOTrainer

from motet_alignment.train.batches import IGNORED
from motet_alignment.train.losses import DpoLoss, dpo
from motet_alignment.train.samples import Sample
from motet_alignment.train.trainer import Inputs, PlannedTrainer, Tally, scored_batches
from motet_alignment.train.trl_private import drop_reference

CONFIG = DPOConfig
OPTIONS: dict[str, Any] = {"max_length": None, "disable_dropout": False}


class PolicyTrainer(PlannedTrainer, DPOTrainer):
    """Pairs; log pi/pi_ref sums over an answer's tokens."""

    loss: DpoLoss = "sigmoid"
    label_noise: float = 0.0
    length_normalised: bool = False
    with_confidence: bool = True

    def refer(self, reference: Literal["start", "base"]) -> None:
        """Notes the reference's log-probabilities with every sample; to be called before training or resuming.

        The policy as it stands then *is* the reference ("start"), or is it with its adapter switched off ("base"): no
        second copy of the base or of the adapter is kept.
        """
        drop_reference(self.model)
        self.work = replace(
            self.work,
            samples=self._referred(self.work.samples, reference),
            held_out=self._referred(self.work.held_out, reference),
        )

    def _referred(self, samples: Sequence[Sample], reference: Literal["start", "base"]) -> list[Sample]:
        self.model.eval()
        with self.model.disable_adapter() if reference == "base" else nullcontext():
            values = scored_batches(self, samples, lambda inputs: self._logprobs(self.model, inputs))
        self.model.train()
        return [
            replace(sample, reference=(chosen, rejected))
            for sample, (chosen, rejected) in zip(samples, values, strict=True)
        ]

    def weigh(self, sample: Sample) -> tuple[float, ...]:
        """Every pair counts once; its confidence is in the loss."""
        return (1.0,)

    def losses(self, model: Any, inputs: Inputs) -> torch.Tensor:
        """The mean over pairs."""
        chosen, rejected, each = self._each(model, inputs)
        with torch.no_grad():
            self.meter("accuracy", (chosen > rejected).float().mean().item())
            self.meter("margin", (self.beta * (chosen - rejected)).mean().item())
            self.meter("chosen", (self.beta * chosen).mean().item())
        return each.sum() / inputs["totals"][0]

    def judge(self, model: Any, inputs: Inputs, tally: Tally) -> None:
        """Each pair's loss, and whether the implicit reward puts the chosen answer first."""
        chosen, rejected, each = self._each(model, inputs)
        tally.losses += each.tolist()
        tally.weights += [1.0] * len(each)
        tally.right += int((chosen > rejected).sum())
        tally.compared += len(each)

    def _each(self, model: Any, inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        ratios = self._logprobs(model, inputs) - inputs["reference"]
        lengths = (inputs["labels"][:, 1:] != IGNORED).sum(-1)
        each = dpo(
            ratios[0::2],
            ratios[1::2],
            lengths[0::2],
            lengths[1::2],
            loss=self.loss,
            beta=self.beta,
            label_smoothing=self.label_noise,
            length_normalised=self.length_normalised,
            confidence=inputs["confidence"] if self.with_confidence else None,
        )
        return ratios[0::2], ratios[1::2], each

    def _logprobs(self, model: Any, inputs: Inputs) -> torch.Tensor:  # [rows]
        output = model(
            input_ids=inputs["input_ids"],
            labels=inputs["labels"],
            attention_mask=inputs["attention_mask"],
            fused_lm_head=True,
        )
        return output.log_probs.float().sum(-1)
