"""How sure a voice is, and how much two voices differ: one number a row of logits.

A logit of -inf is an impossible token, and NaN (a fault) counts as one. A row without any possible token has no
distribution: every number about it is 0.
"""

from __future__ import annotations

import math

import torch

from motet_kernels.contrast import row_blocks

#: Under the largest logit by so much, a token's probability is 0 in float32, and stays so times its distance.
FAR = 200.0


def entropy(
    logits: torch.Tensor,  # [rows, vocab]
) -> torch.Tensor:
    """The entropy of ``softmax(logits)``, in nats, float32 [rows].

    Args:
        logits: of any floating type.
    """
    if logits.is_cuda:
        from motet_kernels.divergence_triton import entropy_triton

        with torch.cuda.device_of(logits):
            return entropy_triton(logits)
    return entropy_torch(logits)


def js_divergence(
    one: torch.Tensor,  # [rows, vocab]
    other: torch.Tensor,  # [rows, other_vocab]
) -> torch.Tensor:
    """The Jensen-Shannon divergence of ``softmax(one)`` and ``softmax(other)``, in bits (0 to 1), float32 [rows].

    Args:
        one: of any floating type.
        other: likewise; of differently padded vocabularies the tokens that both have are compared.

    Raises:
        ValueError: for different numbers of rows.
    """
    if len(one) != len(other):
        raise ValueError(f"{len(one)} rows against {len(other)}")
    if one.is_cuda:
        from motet_kernels.divergence_triton import js_divergence_triton

        with torch.cuda.device_of(one):
            return js_divergence_triton(one, other)
    return js_divergence_torch(one, other)


def entropy_torch(logits: torch.Tensor) -> torch.Tensor:
    """``entropy`` in plain torch: what the kernel must agree with, and what runs where there is no GPU."""
    result = torch.zeros(len(logits), device=logits.device)
    for part in row_blocks(*logits.shape):
        under = _under_the_largest(logits[part])
        mass = under.exp()
        total = mass.sum(1)
        bits = total.log() - mass.mul_(under).sum(1) / total
        result[part] = torch.where(total > 0, bits, 0.0)
    return result


def js_divergence_torch(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """``js_divergence`` in plain torch."""
    shared = min(one.shape[1], other.shape[1])
    result = torch.zeros(len(one), device=one.device)
    for part in row_blocks(len(one), shared):
        p, q = (_probabilities(logits[part, :shared]) for logits in (one, other))
        both = p + q
        half = (both * 0.5).clamp_(min=torch.finfo(torch.float32).tiny)
        # With x for (p - q) / (p + q), of 1 + x and 1 - x the sum of each times its logarithm. Where the voices agree
        # the logarithms' differences would be lost in rounding; the series has none.
        square = (p - q).mul_(0.5).div_(half).square_()
        series = square * (1 + square * (1 / 6 + square * (1 / 15 + square * (1 / 28 + square / 45))))
        exact = -(torch.special.entr(p / half) + torch.special.entr(q / half))
        bits = torch.where(square < 1 / 16, series, exact).mul_(both).sum(1) / (4.0 * math.log(2.0))
        result[part] = torch.where((p.sum(1) > 0) & (q.sum(1) > 0), bits.clamp(0.0, 1.0), 0.0)
    return result


def _under_the_largest(logits: torch.Tensor) -> torch.Tensor:
    """How far each logit is under the row's largest, float32, as a new tensor; at most so far that its mass is 0."""
    highest = torch.finfo(torch.float32).max
    clean = logits.float().nan_to_num(nan=-torch.inf, posinf=highest, neginf=-torch.inf)
    return clean.sub_(clean.amax(1, keepdim=True).clamp_(min=-highest)).clamp_(min=-FAR)


def _probabilities(logits: torch.Tensor) -> torch.Tensor:
    """``softmax``, float32, as a new tensor; 0 all over a row without a possible token."""
    mass = _under_the_largest(logits).exp_()
    return mass.div_(mass.sum(1, keepdim=True).clamp_(min=torch.finfo(torch.float32).tiny))
