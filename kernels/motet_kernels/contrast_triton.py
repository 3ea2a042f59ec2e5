"""The contrast of two voices in two kernels: tile maxima of the expert, then scores where the head can be.

The first reads the expert once. The second knows each tile's maximum: a tile that can't hold a plausible token is
filled with -inf unread, and in the others the amateur is read only under the mask. No atomics, no order of
execution that matters, and no asking row that depends on another. An amateur's row may be another of the batch's own,
so that a group's sequences are contrasted where they lie.
"""

from __future__ import annotations

import itertools

import torch
import triton
import triton.language as tl

from motet_kernels.build import FP_FUSION, Build
from motet_kernels.contrast import AMATEUR_FLOOR, ContrastRows

#: Tokens a program works on; a kernel's tile.
TILE = 1024
_FLOOR = tl.constexpr(AMATEUR_FLOOR)


@triton.jit
def load_expert(logits, tokens, mask):
    """Logits of one row as float32; NaN, and what the mask leaves out, as -inf."""
    values = tl.load(logits + tokens, mask=mask, other=float("-inf")).to(tl.float32)
    return tl.where(values == values, values, float("-inf"))


@triton.jit
def load_amateur(amateur, tokens, mask):
    """An amateur's logits as float32, finite: NaN and -inf as a very low number."""
    values = tl.load(amateur + tokens, mask=mask, other=0.0).to(tl.float32)
    return tl.maximum(tl.where(values == values, values, _FLOOR), _FLOOR)


@triton.jit
def tile_max_kernel(
    logits, index, maxima, stride, shared, tiles, HAS_INDEX: tl.constexpr, TILE: tl.constexpr
):
    """One program a (asking row, tile): the tile's largest logit, into ``maxima`` [rows, tiles]."""
    asking, tile = tl.program_id(0), tl.program_id(1)
    row = tl.load(index + asking) if HAS_INDEX else asking.to(tl.int64)
    tokens = tile * TILE + tl.arange(0, TILE)
    values = load_expert(logits + row * stride, tokens, tokens < shared)
    tl.store(maxima + asking.to(tl.int64) * tiles + tile, tl.max(values, axis=0))


@triton.jit
def contrast_kernel(
    out,
    logits,
    amateur,
    unedited,
    index,
    amateur_index,
    weights,
    pulls,
    floors,
    maxima,
    out_stride,
    stride,
    amateur_stride,
    unedited_stride,
    vocab,
    shared,
    tiles,
    HAS_INDEX: tl.constexpr,
    HAS_AMATEUR_INDEX: tl.constexpr,
    IN_PLACE: tl.constexpr,
    HAS_UNEDITED: tl.constexpr,
    TILE: tl.constexpr,
    TILES: tl.constexpr,
):
    """One program a (asking row, tile): writes the tile's scores, over its logits if ``IN_PLACE``."""
    asking, tile = tl.program_id(0).to(tl.int64), tl.program_id(1)
    row = tl.load(index + asking) if HAS_INDEX else asking
    every = tl.arange(0, TILES)
    row_maxima = tl.load(maxima + asking * tiles + every, mask=every < tiles, other=float("-inf"))
    threshold = tl.max(row_maxima, axis=0) + tl.load(floors + asking)

    tokens = tile * TILE + tl.arange(0, TILE)
    place = out + (row if IN_PLACE else asking) * out_stride + tokens
    best = tl.max(tl.where(every == tile, row_maxima, float("-inf")), axis=0)
    # Also true for a tile behind the shared vocabulary and for a wholly masked row, where both are -inf.
    if (best < threshold) | (best == float("-inf")):
        nothing = tl.full([TILE], float("-inf"), tl.float32)
        tl.store(place, nothing.to(out.dtype.element_ty), mask=tokens < vocab)
    else:
        expert = load_expert(logits + row * stride, tokens, tokens < shared)
        head = (expert >= threshold) & (expert > float("-inf"))
        voice = tl.load(amateur_index + asking) if HAS_AMATEUR_INDEX else asking
        against = load_amateur(amateur + voice * amateur_stride, tokens, head)
        weight = tl.load(weights + asking)
        if HAS_UNEDITED:
            raw = tl.load(unedited + asking * unedited_stride + tokens, mask=head, other=0.0).to(tl.float32)
            # In the ratio form there is nothing to add, and +inf times 0 would be no number.
            score = expert + tl.where(weight != 1.0, raw * (weight - 1.0), 0.0)
        else:
            score = expert * weight
        score = tl.where(head, score - against * tl.load(pulls + asking), float("-inf"))
        tl.store(place, score.to(out.dtype.element_ty), mask=tokens < vocab)


def contrast_triton(
    logits: torch.Tensor,
    amateur: torch.Tensor,
    rows: ContrastRows,
    unedited: torch.Tensor | None = None,
    out: torch.Tensor | None = None,
    amateur_index: torch.Tensor | None = None,
) -> torch.Tensor:
    """``contrast`` on a GPU (or under Triton's interpreter); the last axis of every tensor must be contiguous."""
    asking, vocab = len(amateur if amateur_index is None else amateur_index), logits.shape[1]
    scores = logits if out is None else out
    if not asking or not vocab:
        return scores
    for tensor in (logits, amateur, unedited, out):
        if tensor is not None and tensor.stride(1) != 1:
            raise ValueError("contrast: the vocabulary must be the contiguous axis")
    shared = min(vocab, amateur.shape[1])
    tiles = triton.cdiv(vocab, TILE)
    maxima = torch.empty(asking, tiles, device=logits.device)
    index = logits if rows.index is None else rows.index
    grid = (asking, tiles)
    tile_max_kernel[grid](
        logits,
        index,
        maxima,
        logits.stride(0),
        shared,
        tiles,
        HAS_INDEX=rows.index is not None,
        TILE=TILE,
        enable_fp_fusion=FP_FUSION,
    )
    contrast_kernel[grid](
        scores,
        logits,
        amateur,
        logits if unedited is None else unedited,
        index,
        logits if amateur_index is None else amateur_index,
        rows.weight,
        rows.pull,
        rows.floor,
        maxima,
        scores.stride(0),
        logits.stride(0),
        amateur.stride(0),
        0 if unedited is None else unedited.stride(0),
        vocab,
        shared,
        tiles,
        HAS_INDEX=rows.index is not None,
        HAS_AMATEUR_INDEX=amateur_index is not None,
        IN_PLACE=out is None,
        HAS_UNEDITED=unedited is not None,
        TILE=TILE,
        TILES=triton.next_power_of_2(tiles),
        enable_fp_fusion=FP_FUSION,
    )
    return scores


_SIZES = {"stride": "i64:16", "shared": "i32", "tiles": "i32"}


def _contrast_build(
    logits: str, amateur: str, *, mapped: bool, edited: bool, beside: bool, among: bool
) -> Build:
    branches = f"{' mapped' * mapped}{' edited' * edited}{' beside' * beside}{' among' * among}"
    return Build(
        f"contrast {logits} against {amateur}{branches}",
        contrast_kernel,
        {
            "out": "*fp32" if beside else f"*{logits}",
            "logits": f"*{logits}",
            "amateur": f"*{amateur}",
            "unedited": f"*{logits}",
            "index": "*i64",
            "amateur_index": "*i64",
            **dict.fromkeys(("weights", "pulls", "floors", "maxima"), "*fp32"),
            **_SIZES,
            **dict.fromkeys(("out_stride", "amateur_stride", "unedited_stride"), "i64:16"),
            "vocab": "i32",
        },
        {
            "HAS_INDEX": mapped,
            "HAS_AMATEUR_INDEX": among,
            "IN_PLACE": not beside,
            "HAS_UNEDITED": edited,
            "TILE": TILE,
            "TILES": 256,
        },
    )


#: Every branch in float32, and every pair of types in the fullest branch.
BUILDS = (
    *(
        Build(
            f"tile maximum {logits}{' mapped' * mapped}",
            tile_max_kernel,
            {"logits": f"*{logits}", "index": "*i64", "maxima": "*fp32", **_SIZES},
            {"HAS_INDEX": mapped, "TILE": TILE},
        )
        for logits, mapped in (("fp32", False), ("fp32", True), ("bf16", True), ("fp16", True))
    ),
    *(
        _contrast_build("fp32", "fp32", mapped=mapped, edited=edited, beside=beside, among=among)
        for mapped, edited, beside, among in itertools.product((False, True), repeat=4)
    ),
    *(
        _contrast_build(*pair, mapped=True, edited=True, beside=beside, among=True)
        for pair in (("fp32", "bf16"), ("fp32", "fp16"), ("bf16", "bf16"), ("fp16", "fp16"))
        for beside in (False, True)
    ),
)
