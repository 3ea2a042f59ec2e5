"""Entropy and divergence of rows of logits: one program a row, which reads it once for the one, twice for the other.

The sums stay in lanes until the row's end, so that no step of a loop waits for a reduction across them.
"""

from __future__ import annotations

import itertools
import math

import torch
import triton
import triton.language as tl

from motet_kernels.build import FP_FUSION, Build
from motet_kernels.contrast_triton import load_expert
from motet_kernels.divergence import FAR

#: Logits that a program takes at a time.
BLOCK = 4096
_WARPS = 8
_HIGHEST = tl.constexpr(torch.finfo(torch.float32).max)
_TINY = tl.constexpr(torch.finfo(torch.float32).tiny)
_FAR = tl.constexpr(FAR)
_TWO_LN_2 = tl.constexpr(2.0 * math.log(2.0))


@triton.jit
def grown(high, values):
    """The running maximum of each lane; never -inf, so that differences from it are numbers."""
    return tl.maximum(high, tl.minimum(values, _HIGHEST))


@triton.jit
def mass_under(values, high):
    """What each logit weighs beside ``high``, and how far it is under it."""
    under = tl.maximum(tl.minimum(values, _HIGHEST) - high, -_FAR)
    return tl.exp(under), under


@triton.jit
def entropy_kernel(logits, out, stride, vocab, BLOCK: tl.constexpr):
    """One program a row: the entropy of its softmax, in nats."""
    row = tl.program_id(0).to(tl.int64)
    lane = tl.arange(0, BLOCK)
    high = tl.full([BLOCK], -_HIGHEST, tl.float32)
    total = tl.zeros([BLOCK], tl.float32)
    weighed = tl.zeros([BLOCK], tl.float32)  # the sum of mass times distance
    for start in range(0, vocab, BLOCK):
        values = load_expert(logits + row * stride, start + lane, start + lane < vocab)
        higher = grown(high, values)
        shrunk, step = mass_under(high, higher)
        mass, under = mass_under(values, higher)
        weighed = (weighed + total * step) * shrunk + mass * under
        total = total * shrunk + mass
        high = higher
    shrunk, step = mass_under(high, tl.max(high, axis=0))
    weighed = tl.sum((weighed + total * step) * shrunk, axis=0)
    sum_ = tl.sum(total * shrunk, axis=0)
    tl.store(
        out + row,
        tl.where(sum_ > 0, tl.log(tl.maximum(sum_, _TINY)) - weighed / tl.maximum(sum_, _TINY), 0.0),
    )


@triton.jit
def largest_and_total(logits, vocab, BLOCK: tl.constexpr):
    """A row's largest logit, and the mass of all beside it."""
    lane = tl.arange(0, BLOCK)
    high = tl.full([BLOCK], -_HIGHEST, tl.float32)
    total = tl.zeros([BLOCK], tl.float32)
    for start in range(0, vocab, BLOCK):
        values = load_expert(logits, start + lane, start + lane < vocab)
        higher = grown(high, values)
        shrunk, _ = mass_under(high, higher)
        mass, _ = mass_under(values, higher)
        total = total * shrunk + mass
        high = higher
    highest = tl.max(high, axis=0)
    shrunk, _ = mass_under(high, highest)
    return highest, tl.sum(total * shrunk, axis=0)


@triton.jit
def divergence_kernel(one, other, out, stride, other_stride, shared, BLOCK: tl.constexpr):
    """One program a row pair: the Jensen-Shannon divergence of their softmaxes, in bits."""
    row = tl.program_id(0).to(tl.int64)
    one += row * stride
    other += row * other_stride
    one_high, one_total = largest_and_total(one, shared, BLOCK)
    other_high, other_total = largest_and_total(other, shared, BLOCK)
    one_share = 1.0 / tl.maximum(one_total, _TINY)
    other_share = 1.0 / tl.maximum(other_total, _TINY)
    lane = tl.arange(0, BLOCK)
    sums = tl.zeros([BLOCK], tl.float32)
    for start in range(0, shared, BLOCK):
        tokens = start + lane
        p, _ = mass_under(load_expert(one, tokens, tokens < shared), one_high)
        q, _ = mass_under(load_expert(other, tokens, tokens < shared), other_high)
        p *= one_share
        q *= other_share
        middle = tl.maximum(0.5 * (p + q), _TINY)
        sums += p * tl.log(tl.maximum(p / middle, _TINY)) + q * tl.log(tl.maximum(q / middle, _TINY))
    bits = tl.minimum(tl.maximum(tl.sum(sums, axis=0) / _TWO_LN_2, 0.0), 1.0)
    tl.store(out + row, tl.where((one_total > 0) & (other_total > 0), bits, 0.0))


def entropy_triton(logits: torch.Tensor) -> torch.Tensor:
    """``entropy`` on a GPU (or under Triton's interpreter); the vocabulary is the contiguous axis."""
    _check(logits)
    out = torch.empty(len(logits), device=logits.device)
    if len(logits):
        entropy_kernel[(len(logits),)](
            logits, out, logits.stride(0), logits.shape[1],
            BLOCK=BLOCK, num_warps=_WARPS, enable_fp_fusion=FP_FUSION,
        )  # fmt: skip
    return out


def js_divergence_triton(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """``js_divergence`` on a GPU (or under Triton's interpreter); the vocabulary is the contiguous axis."""
    _check(one, other)
    out = torch.empty(len(one), device=one.device)
    if len(one):
        divergence_kernel[(len(one),)](
            one, other, out, one.stride(0), other.stride(0), min(one.shape[1], other.shape[1]),
            BLOCK=BLOCK, num_warps=_WARPS, enable_fp_fusion=FP_FUSION,
        )  # fmt: skip
    return out


def _check(*tensors: torch.Tensor) -> None:
    for tensor in tensors:
        if tensor.stride(1) != 1:
            raise ValueError("divergence: the vocabulary must be the contiguous axis")


_TYPES = ("fp32", "bf16", "fp16")

#: Every type, and every pair of types that a batch can have.
BUILDS = (
    *(
        Build(
            f"entropy {logits}",
            entropy_kernel,
            {"logits": f"*{logits}", "out": "*fp32", "stride": "i64:16", "vocab": "i32"},
            {"BLOCK": BLOCK},
            _WARPS,
        )
        for logits in _TYPES
    ),
    *(
        Build(
            f"divergence {one} {other}",
            divergence_kernel,
            {
                **{"one": f"*{one}", "other": f"*{other}", "out": "*fp32"},
                **{"stride": "i64:16", "other_stride": "i64:16", "shared": "i32"},
            },
            {"BLOCK": BLOCK},
            _WARPS,
        )
        for one, other in itertools.product(_TYPES, _TYPES)
        if "fp32" in (one, other) or one == other
    ),
)
