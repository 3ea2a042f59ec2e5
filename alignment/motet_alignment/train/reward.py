"""Reward models on TRL's RewardTrainer: a LoRA with a scalar head, learnt from pairs, rankings or ratings."""

from __future__ import annotations

from typing import Any, Literal

import torch
from trl import RewardConfig, RewardTrainer

from motet_alignment.train.losses import bradley_terry, centring, logistic, plackett_luce, regression
from motet_alignment.train.samples import Sample
from motet_alignment.train.trainer import Inputs, PlannedTrainer, Tally

Target = Literal["pairs", "rankings", "regression", "logistic"]

CONFIG = RewardConfig
OPTIONS: dict[str, Any] = {"max_length": None, "disable_dropout": False}


class ScalarTrainer(PlannedTrainer, RewardTrainer):
    """The score stands at the last token of the rendered conversation, whatever that is: what the server reads too."""

    target: Target = "pairs"
    centring: float = 0.01

    def weigh(self, sample: Sample) -> tuple[float, ...]:
        """Every sample counts once."""
        return (1.0,)

    def losses(self, model: Any, inputs: Inputs) -> torch.Tensor:
        """The mean over samples of the target's loss."""
        rewards = scores(model, inputs)
        each, pull = self._each(rewards, inputs)
        with torch.no_grad():
            self.meter("reward", rewards.mean().item())
            right, compared = ordered(rewards, inputs, self.target)
            if compared:
                self.meter("accuracy", right / compared)
        return (each + pull).sum() / inputs["totals"][0]

    def judge(self, model: Any, inputs: Inputs, tally: Tally) -> None:
        """Each sample's loss without the pull towards zero, and whether the better answer scored higher."""
        rewards = scores(model, inputs)
        each, _ = self._each(rewards, inputs)
        tally.losses += each.tolist()
        tally.weights += [1.0] * len(each)
        right, compared = ordered(rewards, inputs, self.target)
        tally.right += right
        tally.compared += compared

    def _each(self, rewards: torch.Tensor, inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor]:
        match self.target:
            case "pairs":
                chosen, rejected = rewards[0::2], rewards[1::2]
                each = bradley_terry(chosen, rejected, inputs["margin"])
                return each, centring(chosen + rejected, self.centring)
            case "rankings":
                table, present = by_sample(rewards, inputs)
                mean = (table * present).sum(-1) / present.sum(-1)
                # Twice the mean is a pair's sum: both targets are pulled alike.
                return plackett_luce(table, present), centring(2 * mean, self.centring)
            case "regression":
                return regression(rewards, inputs["score"]), torch.zeros_like(rewards)
            case "logistic":
                return logistic(rewards, inputs["score"]), torch.zeros_like(rewards)


def scores(model: Any, inputs: Inputs) -> torch.Tensor:  # [rows]
    """The score of each row's last token, in float32."""
    logits = model(
        input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], last=inputs["last"]
    )["logits"]
    return logits.squeeze(-1).float()


def by_sample(values: torch.Tensor, inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor]:
    """Values [rows] as a table [samples, most texts], and where it holds one."""
    group, rank = inputs["group"], inputs["rank"]
    shape = (len(inputs["score"]), int(rank.max()) + 1)
    table = values.new_zeros(shape).index_put((group, rank), values)
    present = torch.zeros(shape, dtype=torch.bool, device=values.device).index_put(
        (group, rank), torch.ones_like(group, dtype=torch.bool)
    )
    return table, present


def ordered(rewards: torch.Tensor, inputs: Inputs, target: Target) -> tuple[int, int]:
    """How many comparisons came out right and how many there were: neighbours in a ranking, a batch's ratings by twos.

    Equal rewards are wrong; ratings are compared in pairs of different scores, each with the next one.
    """
    if target in ("pairs", "rankings"):
        table, present = by_sample(rewards, inputs)
        compared = present[:, 1:]
        return int(((table[:, :-1] > table[:, 1:]) & compared).sum()), int(compared.sum())
    better = inputs["score"][0:-1:2] - inputs["score"][1::2]
    difference = rewards[0:-1:2] - rewards[1::2]
    return int(((better * difference) > 0).sum()), int((better != 0).sum())


def target_of(kind: str, logistic: bool) -> Target:
    """What examples of this kind are learnt as."""
    if kind == "rating":
        return "logistic" if logistic else "regression"
    return "rankings" if kind == "ranking" else "pairs"
