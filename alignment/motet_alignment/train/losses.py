"""Losses of the three trainers as pure functions of tensors; every one returns a value a sample, in nats."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

DpoLoss = Literal["sigmoid", "ipo", "robust", "hinge"]


def mixed(
    instruction: Tensor,  # [] sum over the examples' tokens
    pretraining: Tensor,  # [] sum over the text's tokens
    counts: Tensor,  # [2] tokens of either in the whole step
    alpha: float,
) -> Tensor:  # []
    """alpha * L_instruction + (1 - alpha) * L_LM, each the mean over the step's tokens; one that has none adds 0."""
    return alpha * instruction / counts[0].clamp(min=1) + (1 - alpha) * pretraining / counts[1].clamp(min=1)


def bradley_terry(
    chosen: Tensor,  # [pairs] rewards
    rejected: Tensor,  # [pairs] rewards
    margin: Tensor,  # [pairs] how much better, in units of reward
) -> Tensor:  # [pairs]
    """-log sigmoid(r_w - r_l - margin) (Bradley & Terry 1952; margin: Touvron et al. 2023, arXiv 2307.09288)."""
    return -functional.logsigmoid(chosen - rejected - margin)


def centring(rewards: Tensor, coefficient: float) -> Tensor:  # [...] -> [...]
    """coefficient * (sum of a pair's rewards)^2 (Eisenstein et al. 2023, arXiv 2312.09244); `rewards` are the sums."""
    return coefficient * rewards.square()


def plackett_luce(
    rewards: Tensor,  # [rankings, answers] best first
    present: Tensor,  # [rankings, answers] False behind the last answer
) -> Tensor:  # [rankings]
    """-sum_k log(exp r_k / sum_{j >= k} exp r_j) over k = 1 .. K - 1 (Plackett 1975; Luce 1959).

    With two answers it is Bradley-Terry without margin.
    """
    masked = rewards.masked_fill(~present, -1e30)  # finite, because -inf's gradient is NaN
    behind = masked.flip(-1).logcumsumexp(-1).flip(-1)  # log of the sum over this answer and all worse ones
    terms = (behind - rewards).masked_fill(~present, 0.0)
    return terms.sum(-1)


def regression(rewards: Tensor, scores: Tensor) -> Tensor:  # [ratings] -> [ratings]
    """(r - score)^2."""
    return (rewards - scores).square()


def logistic(rewards: Tensor, scores: Tensor) -> Tensor:  # [ratings] -> [ratings]
    """-s log sigmoid(r) - (1 - s) log sigmoid(-r) for scores s between 0 and 1."""
    return -scores * functional.logsigmoid(rewards) - (1 - scores) * functional.logsigmoid(-rewards)


def dpo(
    chosen: Tensor,  # [pairs] log pi/pi_ref of the chosen answer, summed over its tokens
    rejected: Tensor,  # [pairs] the same of the rejected one
    chosen_length: Tensor,  # [pairs] tokens of the answer
    rejected_length: Tensor,  # [pairs]
    *,
    loss: DpoLoss = "sigmoid",
    beta: float = 0.1,
    label_smoothing: float = 0.0,
    length_normalised: bool = False,
    confidence: Tensor | None = None,  # [pairs] 0.5..1
) -> Tensor:  # [pairs]
    """One of DPO's losses of d = log pi/pi_ref(w) - log pi/pi_ref(l), a pair each.

    sigmoid: -log sigmoid(beta d) (Rafailov et al. 2023, arXiv 2305.18290). ipo: (d - 1 / (2 beta))^2 with d the
    difference of means over tokens (Azar et al. 2023, arXiv 2310.12036, eq. 17). robust: with e the share of wrong
    labels, ((1 - e) l(d) - e l(-d)) / (1 - 2 e), l = sigmoid's (Chowdhury et al. 2024, arXiv 2403.00409). hinge:
    max(0, 1 - beta d) (Zhao et al. 2023, arXiv 2305.10425). `length_normalised` takes means over tokens in all.
    With a confidence c each pair's loss is c l(d) + (1 - c) l(-d): at c = 1 the loss itself, below it a pull towards
    the d at which the policy is as sure as c says; at c = 0.5 that is d = 0, the reference's own view (Mitchell 2023,
    conservative DPO, with c for each pair).
    """
    if loss == "ipo" or length_normalised:
        chosen = chosen / chosen_length.clamp(min=1)
        rejected = rejected / rejected_length.clamp(min=1)
    difference = chosen - rejected
    forward = _dpo_one_way(difference, loss, beta, label_smoothing)
    if confidence is None:
        return forward
    backward = _dpo_one_way(-difference, loss, beta, label_smoothing)
    return confidence * forward + (1 - confidence) * backward


def _dpo_one_way(difference: Tensor, loss: DpoLoss, beta: float, label_smoothing: float) -> Tensor:
    match loss:
        case "sigmoid":
            return -functional.logsigmoid(beta * difference)
        case "ipo":
            return (difference - 1 / (2 * beta)).square()
        case "hinge":
            return torch.relu(1 - beta * difference)
        case "robust":
            right = -functional.logsigmoid(beta * difference)
            wrong = -functional.logsigmoid(-beta * difference)
            return ((1 - label_smoothing) * right - label_smoothing * wrong) / (1 - 2 * label_smoothing)
