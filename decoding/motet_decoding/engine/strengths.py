"""How much of its strength a contrast has at one token: pure functions, each from 0 to 1."""

from __future__ import annotations

import math

import torch

from motet_decoding.adapting import ByPosition
from motet_kernels.divergence import entropy


def share_by_position(schedule: ByPosition, position: int) -> float:
    """The share that a schedule gives the token at ``position`` of the answer, from 0."""
    gone = min(1.0, max(0, position) / schedule.tokens)
    if schedule.shape == "cosine":
        gone = (1.0 - math.cos(math.pi * gone)) / 2.0
    elif schedule.shape == "step":
        gone = float(gone >= 1.0)
    return schedule.start + (schedule.end - schedule.start) * gone


def share_by_entropy(expert: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """``min(1, H / scale)``, [rows].

    Args:
        expert: its raw logits, [rows, vocab].
        scale: in nats, [rows].
    """
    return (entropy(expert) / scale).clamp(max=1.0)


def share_by_divergence(bits: torch.Tensor, weights: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """``min(1, D / scale)``, [rows], with D the mean of the voices' divergences from the expert.

    Args:
        bits: each voice's divergence, [rows, voices]. The voices are taken as they are, whatever the temperature
            that a contrast then divides them by.
        weights: the voices' own, [rows, voices]; the mean is by their size.
        scale: in bits, [rows].
    """
    sizes = weights.abs()
    mean = (bits * sizes).sum(1) / sizes.sum(1).clamp(min=torch.finfo(torch.float32).tiny)
    return (mean / scale).clamp(max=1.0)
