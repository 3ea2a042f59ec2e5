"""How sure a voice is, and how much two voices differ: one number a row of logits.

A logit of -inf is an impossible token, and NaN (a fault) counts as one. A row without any possible token has no
distribution: every number about it is 0.
"""

from __future__ import annotations

import math

import torch

from motet_kernels.contrast import row_blocks

#: Tensors of a block that the twins have in use at a time, which together should stay in a core's cache.
_OPERANDS = 8

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
    for part in row_blocks(len(logits), logits.shape[1] * _OPERANDS):
        logs = _clean(logits[part]).log_softmax(1)
        # Nothing times infinity is no number; so far down, nothing is left to multiply.
        result[part] = -logs.exp().mul_(logs.clamp_(min=-FAR)).sum(1)
    return result.nan_to_num_(0.0)


def js_divergence_torch(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """``js_divergence`` in plain torch."""
    shared, tiny = min(one.shape[1], other.shape[1]), torch.finfo(torch.float32).tiny
    result = torch.zeros(len(one), device=one.device)
    for part in row_blocks(len(one), shared * _OPERANDS):
        p, q = (_clean(logits[part, :shared]).softmax(1) for logits in (one, other))
        middle = (p + q).mul_(0.5).clamp_(min=tiny)
        # Logarithms of ratios, which are exactly 1 where the voices agree.
        p, q = (each.mul_((each / middle).clamp_(min=tiny).log_()) for each in (p, q))
        result[part] = p.add_(q).sum(1)
    return result.div_(2.0 * math.log(2.0)).clamp_(0.0, 1.0).nan_to_num_(0.0)


def _clean(logits: torch.Tensor) -> torch.Tensor:
    """What a softmax makes numbers of, unless it is -inf throughout, float32."""
    highest = torch.finfo(torch.float32).max
    return logits.float().nan_to_num(nan=-torch.inf, posinf=highest, neginf=-torch.inf)
