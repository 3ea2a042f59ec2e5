"""Log-probabilities of given tokens: the Triton kernels, which read each row once in either direction."""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl

from motet_kernels.build import FP_FUSION, Build
from motet_kernels.token_logprobs_torch import IGNORE_INDEX, Reduced

_IGNORED = tl.constexpr(IGNORE_INDEX)
_LOG2_E = tl.constexpr(math.log2(math.e))
#: Below every logit but -inf. A maximum that starts here instead of at -inf never leads to -inf - -inf.
_LOWEST = tl.constexpr(torch.finfo(torch.float32).min)

# One step of the reduction takes STEPS times LANES logits: eight warps with 16 bytes of a half precision a thread, four
# of those in flight to cover the memory's latency.
_REDUCE = {"STEPS": 4, "LANES": 2048}
_WRITE = {"BLOCK": 4096}
_WARPS = 8


@triton.jit(do_not_specialize_on_alignment=["ids", "logprobs", "maximum", "logsum"])
def reduce_rows(
    logits,  # [rows, vocab]
    ids,  # [rows]
    logprobs,  # [rows]
    maximum,  # [rows]
    logsum,  # [rows]
    stride,
    vocab,
    inverse_temperature,
    STEPS: tl.constexpr,
    LANES: tl.constexpr,
):
    """One program a row, with a running maximum and sum in each lane until the row's end.

    Lanes do not wait for one another in the loop, and rescaling a lane's sum costs one exponential in STEPS: with one a
    logit, or with two, the exponentials of bfloat16 rows would take longer than reading them.
    """
    row = tl.program_id(0)
    token = tl.load(ids + row)
    logits += row.to(tl.int64) * stride
    scale = inverse_temperature * _LOG2_E
    index = tl.arange(0, STEPS)[:, None] * LANES + tl.arange(0, LANES)[None, :]
    high = tl.full([LANES], _LOWEST, tl.float32)
    total = tl.zeros([LANES], tl.float32)
    # A row that is not asked for is not read.
    end = tl.where(token == _IGNORED, 0, vocab)
    for start in range(0, end, STEPS * LANES):
        at = start + index
        values = tl.load(logits + at, mask=at < vocab, other=-float("inf")).to(tl.float32)
        higher = tl.maximum(high, tl.max(values, axis=0))
        total *= tl.exp2((high - higher) * scale)
        total += tl.sum(tl.exp2((values - higher[None, :]) * scale), axis=0)
        high = higher
    highest = tl.max(high, axis=0)
    log_total = tl.log(tl.sum(total * tl.exp2((high - highest) * scale), axis=0))
    inside = (token >= 0) & (token < vocab)
    chosen = tl.load(logits + token, mask=inside, other=0.0).to(tl.float32)
    log_total = tl.where(inside, log_total, float("nan"))
    result = (chosen - highest) * inverse_temperature - log_total
    tl.store(logprobs + row, tl.where(token == _IGNORED, 0.0, result))
    tl.store(maximum + row, highest)
    tl.store(logsum + row, log_total)


@triton.jit(
    do_not_specialize=["first"], do_not_specialize_on_alignment=["ids", "maximum", "logsum", "upstream"]
)
def write_gradient(
    out,  # [rows, columns]
    logits,  # [rows, columns]
    ids,  # [rows]
    maximum,  # [rows]
    logsum,  # [rows]
    upstream,  # [rows]
    out_stride,
    stride,
    columns,
    first,
    inverse_temperature,
    BLOCK: tl.constexpr,
):
    """One program a block of a row. ``out`` may be ``logits``: a thread writes where it alone has read."""
    row = tl.program_id(0)
    at = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    token = tl.load(ids + row)
    # A row that is not asked for is not read.
    readable = tl.where(token == _IGNORED, 0, columns)
    share = tl.load(upstream + row) * inverse_temperature
    offset = row.to(tl.int64)
    values = tl.load(logits + offset * stride + at, mask=at < readable, other=0.0).to(tl.float32)
    scores = (values - tl.load(maximum + row)) * inverse_temperature - tl.load(logsum + row)
    gradient = share * (tl.where(at == token - first, 1.0, 0.0) - tl.exp2(scores * _LOG2_E))
    gradient = tl.where(token == _IGNORED, 0.0, gradient).to(out.dtype.element_ty)
    tl.store(out + offset * out_stride + at, gradient, mask=at < columns)


def forward(logits: torch.Tensor, ids: torch.Tensor, temperature: float) -> Reduced:
    """As ``token_logprobs_torch.forward``, for float32, bfloat16 and float16.

    The vocabulary must be contiguous, rows may be strided. An id out of range gives NaN for its row.
    """
    reduced = Reduced(*(torch.empty(len(ids), device=logits.device) for _ in Reduced._fields))
    if len(ids):
        with torch.cuda.device_of(logits):
            reduce_rows[(len(ids),)](
                logits,
                ids.contiguous(),
                *reduced,
                logits.stride(0),
                logits.shape[1],
                1 / temperature,
                **_REDUCE,
                num_warps=_WARPS,
                enable_fp_fusion=FP_FUSION,
            )
    return reduced


def backward(
    out: torch.Tensor,  # [rows, columns]
    logits: torch.Tensor,  # [rows, columns]
    ids: torch.Tensor,  # [rows]
    maximum: torch.Tensor,  # [rows]
    logsum: torch.Tensor,  # [rows]
    upstream: torch.Tensor,  # [rows]
    temperature: float,
    first: int = 0,
) -> None:
    """As ``token_logprobs_torch.backward``; a row whose ``logsum`` is NaN becomes NaN."""
    if out.numel():
        with torch.cuda.device_of(logits):
            write_gradient[(len(ids), triton.cdiv(logits.shape[1], _WRITE["BLOCK"]))](
                out,
                logits,
                ids.contiguous(),
                maximum,
                logsum,
                upstream.contiguous(),
                out.stride(0),
                logits.stride(0),
                logits.shape[1],
                first,
                1 / temperature,
                **_WRITE,
                num_warps=_WARPS,
                enable_fp_fusion=FP_FUSION,
            )


def _builds() -> tuple[Build, ...]:
    by_row = {"ids": "*i64", "maximum": "*fp32", "logsum": "*fp32", "inverse_temperature": "fp32"}
    builds = []
    for dtype in ("fp32", "bf16", "fp16"):
        # A vocabulary that is a multiple of 16 is read 16 bytes at a time, another one by one.
        for label, size in (("", "i32:16"), (", odd vocabulary", "i32")):
            reduce = {"logits": f"*{dtype}", "logprobs": "*fp32", "stride": size, "vocab": size}
            write = {"logits": f"*{dtype}", "out": f"*{dtype}", "upstream": "*fp32", "first": "i32"}
            write |= dict.fromkeys(("out_stride", "stride", "columns"), size)
            builds += [
                Build(f"token_logprobs {dtype}{label}", reduce_rows, by_row | reduce, _REDUCE, _WARPS),
                Build(
                    f"token_logprobs backward {dtype}{label}", write_gradient, by_row | write, _WRITE, _WARPS
                ),
            ]
    return tuple(builds)


BUILDS = _builds()
