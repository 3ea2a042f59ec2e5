"""The whole decision for a row in two passes: what every tile holds at most, then the few tiles that matter.

``tile_kernel`` reads the expert once, in parallel over tiles, and leaves four numbers of each: maximum, mass, and the
best token with its key. That settles greedy plain rows and plain rows without truncation. For any other row
``draw_kernel`` derives from those numbers a bound that provably no kept token lies under (the plausible head; min-p;
the k-th largest tile maximum; the mass that tiles can hold at most under a bound), visits only tiles that reach it,
packs what it finds, and finds top-k's and top-p's edges by bisection. A flat row is visited whole and packed whole:
there is room for it, so nothing overflows and every result is exact. No atomics: a row's result is its own.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from motet_kernels.build import FP_FUSION, Build
from motet_kernels.contrast import ContrastRows
from motet_kernels.contrast_sample import LARGEST_SCORE, NO_TOKEN, Drawn, Edits, Sampling
from motet_kernels.contrast_triton import TILE, load_amateur, load_expert
from motet_kernels.noise_triton import gumbel_noise, noise_keys

#: Survivors that a row keeps in registers while it looks for an edge; what is beyond them is read again.
CHUNK = 2048
#: Edits a program works on.
EDIT_BLOCK = 64
_LARGEST = tl.constexpr(LARGEST_SCORE)
_NO_TOKEN = tl.constexpr(NO_TOKEN)


@triton.jit
def edit_kernel(
    logits, amateur, slots, row_of, token_of, bias, count, prompted, repetition, frequency, presence,
    weights, pulls, stride, amateur_stride, batch, vocab, shared, entries,
    HAS_CONTRAST: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Edits logits in place. The amateur's are moved along, so that the contrast multiplies none of the edit."""
    entry = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = entry < entries
    row = tl.load(row_of + entry, mask=mask, other=-1)
    token = tl.load(token_of + entry, mask=mask, other=-1)
    mask = mask & (row >= 0) & (row < batch) & (token >= 0) & (token < vocab)
    value = tl.load(logits + row * stride + token, mask=mask, other=float("-inf"))
    times = tl.load(count + entry, mask=mask, other=0)
    seen = (tl.load(prompted + entry, mask=mask, other=0) != 0) | (times > 0)
    edited = value + tl.load(bias + entry, mask=mask, other=0.0)
    factor = tl.where(seen, tl.load(repetition + row, mask=mask, other=1.0), 1.0)
    edited = tl.where(edited > 0, edited / factor, edited * factor)
    edited -= tl.load(frequency + row, mask=mask, other=0.0) * times.to(tl.float32)
    edited -= tl.where(times > 0, tl.load(presence + row, mask=mask, other=0.0), 0.0)
    tl.store(logits + row * stride + token, edited, mask=mask)
    if HAS_CONTRAST:
        slot = tl.load(slots + row, mask=mask, other=-1).to(tl.int64)
        mask = mask & (slot >= 0) & (token < shared) & (value > float("-inf"))
        pull = tl.load(pulls + slot, mask=mask, other=0.0)
        extra = tl.load(weights + slot, mask=mask, other=1.0) - 1.0
        mask = mask & (pull > 0) & (extra > 0)
        # extra * e' - pull * a' = extra * e - pull * a
        moved = tl.where(mask, extra / tl.where(pull > 0, pull, 1.0) * (edited - value), 0.0)
        place = amateur + slot * amateur_stride + token
        tl.store(place, load_amateur(amateur, slot * amateur_stride + token, mask) + moved, mask=mask)


@triton.jit
def tile_kernel(
    logits, slots, temperature, min_p, top_k, top_p, seed, position, maxima, masses, keys, tokens_out,
    stride, vocab, shared, tiles,
    HAS_CONTRAST: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """One program a (row, tile)."""
    row, tile = tl.program_id(0), tl.program_id(1)
    slot = tl.load(slots + row) if HAS_CONTRAST else row * 0 - 1
    heat = tl.load(temperature + row)
    heat = tl.where(heat == 0, 1.0, heat)
    k = tl.load(top_k + row)
    whole = (tl.load(min_p + row) == 0) & ((k <= 0) | (k >= vocab)) & (tl.load(top_p + row) >= 1)
    drawn_here = (slot < 0) & (tl.load(temperature + row) > 0) & whole

    tokens = tile * TILE + tl.arange(0, TILE)
    width = tl.where(slot < 0, vocab, shared)
    values = load_expert(logits + row.to(tl.int64) * stride, tokens, tokens < width)
    values = tl.minimum(values, _LARGEST)
    best = tl.max(values, axis=0)
    scores = values / heat
    mass = tl.sum(tl.exp(scores - tl.where(best > float("-inf"), best / heat, 0.0)), axis=0)
    favour = scores
    if drawn_here:
        first, second = noise_keys(tl.load(seed + row), tl.load(position + row))
        favour = scores + gumbel_noise(first, second, tokens)
    out = row.to(tl.int64) * tiles + tile
    tl.store(maxima + out, best)
    tl.store(masses + out, mass)
    tl.store(keys + out, tl.max(favour, axis=0))
    tl.store(tokens_out + out, tile * TILE + tl.argmax(favour, axis=0))


@triton.jit
def ordered(x):
    """float32 as an integer of the same order."""
    bits = x.to(tl.int32, bitcast=True)
    return tl.where(bits < 0, bits ^ 0x7FFFFFFF, bits)


@triton.jit
def unordered(key):
    """The float32 of ``ordered``'s integer."""
    return tl.where(key < 0, key ^ 0x7FFFFFFF, key).to(tl.float32, bitcast=True)


@triton.jit
def bound_by_tiles(maxima, masses, best, heat, k, p, TILE: tl.constexpr):
    """A logit that no token kept by top-k (k > 0) and top-p lies under, from the tiles' maxima and masses alone.

    At least k tokens reach the k-th largest tile maximum. And what lies under a bound t is at most the mass of the
    tiles that don't reach t, and of every other tile at most what it holds beside its maximum and at most TILE - 1
    tokens of t: as long as that is under 1 - p of everything, top-p ends above t.
    """
    held = masses * tl.exp((maxima - best) / heat)
    beside = held - tl.exp((maxima - best) / heat)
    spare = (1.0 - p) * tl.sum(held, axis=0) * 0.999
    lowest = best - 100.0 * heat
    by_count, by_mass, step = lowest, lowest, 50.0 * heat
    for _ in range(14):  # to a hundredth of a temperature: nearer would save no more tiles
        higher = by_count + step
        by_count = tl.where(tl.sum((maxima >= higher).to(tl.int32), axis=0) >= k, higher, by_count)
        higher = by_mass + step
        most = tl.minimum(beside, (TILE - 1) * tl.exp((higher - best) / heat))
        under = tl.sum(tl.where(maxima >= higher, most, held), axis=0)
        by_mass = tl.where(under < spare, higher, by_mass)
        step = step * 0.5
    by_count = tl.where((k > 0) & (by_count > lowest), by_count, float("-inf"))
    return tl.maximum(by_count, tl.where((p < 1) & (by_mass > lowest), by_mass, float("-inf")))


@triton.jit
def above(packed, n, first_chunk, best, edge, CHUNK: tl.constexpr):
    """How many of a row's packed scores reach ``edge``, and their mass relative to ``best``."""
    reach = first_chunk >= edge
    count = tl.sum(reach.to(tl.int32), axis=0)
    mass = tl.sum(tl.where(reach, tl.exp(first_chunk - best), 0.0), axis=0)
    for start in range(CHUNK, n, CHUNK):
        place = start + tl.arange(0, CHUNK)
        scores = tl.load(packed + place, mask=place < n, other=float("-inf"))
        reach = scores >= edge
        count += tl.sum((reach & (place < n)).to(tl.int32), axis=0)
        mass += tl.sum(tl.where(reach, tl.exp(scores - best), 0.0), axis=0)
    return count, mass


@triton.jit
def draw_kernel(
    logits, amateur, slots, weights, pulls, floors, temperature, min_p, top_k, top_p, seed, position,
    maxima, masses, keys, tokens_in, packed, packed_tokens, token_out, logprob_out,
    stride, amateur_stride, vocab, shared, tiles,
    HAS_CONTRAST: tl.constexpr,
    TILE: tl.constexpr, TILES: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """One program a row."""
    row = tl.program_id(0)
    slot = tl.load(slots + row) if HAS_CONTRAST else row * 0 - 1
    cold = tl.load(temperature + row) == 0
    heat = tl.where(cold, 1.0, tl.load(temperature + row))
    share, k, p = tl.load(min_p + row), tl.load(top_k + row), tl.load(top_p + row)
    k = tl.where((k >= vocab) | (k < 0) | cold, 0, k)
    p = tl.where(cold, 1.0, p)
    share = tl.where(cold, 0.0, share)

    every = tl.arange(0, TILES)
    own = row.to(tl.int64) * tiles + every
    tile_max = tl.load(maxima + own, mask=every < tiles, other=float("-inf"))
    tile_mass = tl.load(masses + own, mask=every < tiles, other=0.0)
    best_logit = tl.max(tile_max, axis=0)
    line = logits + row.to(tl.int64) * stride
    if best_logit == float("-inf"):
        tl.store(token_out + row, _NO_TOKEN)
        tl.store(logprob_out + row, float("nan"))
    elif (slot < 0) & (cold | ((share == 0) & (k == 0) & (p >= 1))):
        tile_key = tl.load(keys + own, mask=every < tiles, other=float("-inf"))
        tile = tl.argmax(tile_key, axis=0)
        token = tl.load(tokens_in + row.to(tl.int64) * tiles + tile)
        mass = tl.sum(tile_mass * tl.exp((tile_max - best_logit) / heat), axis=0)
        chosen = tl.minimum(tl.load(line + token).to(tl.float32), _LARGEST)
        tl.store(token_out + row, token)
        tl.store(logprob_out + row, (chosen - best_logit) / heat - tl.log(mass))
    else:
        if slot >= 0:
            bound = best_logit + tl.load(floors + slot)
        else:
            bound = bound_by_tiles(tile_max, tile_mass, best_logit, heat, k, p, TILE)
            by_share = best_logit + heat * tl.log(share)
            # A little lower than exact: what is dropped for good is decided on the scores, below.
            bound = tl.maximum(bound, by_share - 1e-5 * (tl.abs(best_logit) + tl.abs(by_share)))

        # Pack the scores of what can be kept, in the order of tokens.
        line_scores = packed + row.to(tl.int64) * vocab
        line_tokens = packed_tokens + row.to(tl.int64) * vocab
        n, best = 0, float("-inf")
        tile = tl.min(tl.where((tile_max >= bound) & (tile_max > float("-inf")), every, TILES), axis=0)
        while tile < TILES:
            tokens = tile * TILE + tl.arange(0, TILE)
            inside = tokens < tl.where(slot < 0, vocab, shared)
            expert = load_expert(line, tokens, inside)
            live = (expert >= bound) & (expert > float("-inf"))
            score = expert
            if HAS_CONTRAST:
                if slot >= 0:
                    against = load_amateur(amateur + slot.to(tl.int64) * amateur_stride, tokens, live)
                    score = expert * tl.load(weights + slot) - against * tl.load(pulls + slot)
            score = tl.minimum(score, _LARGEST) / heat
            live = live & (score > float("-inf"))
            place = n + tl.cumsum(live.to(tl.int32), axis=0) - 1
            tl.store(line_scores + place, score, mask=live)
            tl.store(line_tokens + place, tokens, mask=live)
            n += tl.sum(live.to(tl.int32), axis=0)
            best = tl.maximum(best, tl.max(tl.where(live, score, float("-inf")), axis=0))
            tile = tl.min(
                tl.where((tile_max >= bound) & (tile_max > float("-inf")) & (every > tile), every, TILES),
                axis=0,
            )
        tl.debug_barrier()  # every thread reads what others packed

        chunk = tl.arange(0, CHUNK)
        first_chunk = tl.load(line_scores + chunk, mask=chunk < n, other=float("-inf"))
        edge = best + tl.log(share)
        if (k > 0) & (k < n):
            low, high = ordered(edge), ordered(best)
            while low < high:
                middle = (low | high) - ((low ^ high) >> 1)  # the upper mean, without overflow
                count, _ = above(line_scores, n, first_chunk, best, unordered(middle), CHUNK)
                low, high = tl.where(count >= k, middle, low), tl.where(count >= k, high, middle - 1)
            edge = tl.maximum(edge, unordered(low))
        if p < 1:
            _, mass = above(line_scores, n, first_chunk, best, edge, CHUNK)
            if (slot < 0) & (k == 0) & (share == 0):  # packing may have left out what top-p still counts
                mass = tl.sum(tile_mass * tl.exp((tile_max - best_logit) / heat), axis=0)
            low, high = ordered(edge), ordered(best)
            while low < high:
                middle = (low | high) - ((low ^ high) >> 1)
                _, reached = above(line_scores, n, first_chunk, best, unordered(middle), CHUNK)
                low, high = (
                    tl.where(reached >= p * mass, middle, low),
                    tl.where(reached >= p * mass, high, middle - 1),
                )
            edge = tl.maximum(edge, unordered(low))

        _, mass = above(line_scores, n, first_chunk, best, edge, CHUNK)
        first, second = noise_keys(tl.load(seed + row), tl.load(position + row))
        winner, favour, won = 0, float("-inf"), float("-inf")
        for start in range(0, n, CHUNK):
            place = start + chunk
            scores = tl.load(line_scores + place, mask=place < n, other=float("-inf"))
            tokens = tl.load(line_tokens + place, mask=place < n, other=0)
            noise = tl.where(cold, 0.0, gumbel_noise(first, second, tokens))
            here = tl.where((place < n) & (scores >= edge), scores + noise, float("-inf"))
            highest = tl.max(here, axis=0)
            if highest > favour:
                at = tl.argmax(here, axis=0)
                winner = tl.sum(tl.where(chunk == at, tokens, 0), axis=0)
                won = tl.max(tl.where(chunk == at, scores, float("-inf")), axis=0)
                favour = highest
        tl.store(token_out + row, winner)
        tl.store(logprob_out + row, won - best - tl.log(mass))


def contrast_sample_triton(
    logits: torch.Tensor,
    sampling: Sampling,
    amateur: torch.Tensor | None = None,
    rows: ContrastRows | None = None,
    edits: Edits | None = None,
) -> Drawn:
    """``contrast_sample`` on a GPU (or under Triton's interpreter); the vocabulary is the contiguous axis."""
    batch, vocab = logits.shape
    for tensor in (logits, amateur):
        if tensor is not None and tensor.stride(1) != 1:
            raise ValueError("contrast_sample: the vocabulary must be the contiguous axis")
    device = logits.device
    token = torch.empty(batch, dtype=torch.int64, device=device)
    logprob = torch.empty(batch, device=device)
    if not batch:
        return Drawn(token, logprob)
    contrasted = amateur is not None and rows is not None and len(rows) > 0
    slots = _slots(rows, batch) if contrasted and rows is not None else token
    voice = (
        (amateur, rows.weight, rows.pull, rows.floor) if contrasted and rows is not None else (logits,) * 4
    )
    shared = vocab if amateur is None else min(vocab, amateur.shape[1])
    amateur_stride = 0 if amateur is None else amateur.stride(0)
    if edits is not None and len(edits.row):
        edit_kernel[(triton.cdiv(len(edits.row), EDIT_BLOCK),)](
            logits, voice[0], slots, edits.row, edits.token, edits.bias, edits.count, edits.prompted,
            edits.repetition, edits.frequency, edits.presence, voice[1], voice[2], logits.stride(0), amateur_stride,
            batch, vocab, shared, len(edits.row), HAS_CONTRAST=contrasted, BLOCK=EDIT_BLOCK, enable_fp_fusion=FP_FUSION,
        )  # fmt: skip
    tiles = triton.cdiv(vocab, TILE)
    maxima, masses, keys = torch.empty(3, batch, tiles, device=device)
    tile_tokens = torch.empty(batch, tiles, dtype=torch.int32, device=device)
    draw = (
        sampling.temperature, sampling.min_p, sampling.top_k, sampling.top_p, sampling.seed, sampling.position
    )  # fmt: skip
    tile_kernel[(batch, tiles)](
        logits, slots, *draw, maxima, masses, keys, tile_tokens, logits.stride(0), vocab, shared, tiles,
        HAS_CONTRAST=contrasted, TILE=TILE, enable_fp_fusion=FP_FUSION,
    )  # fmt: skip
    packed = torch.empty(batch, vocab, device=device)
    packed_tokens = torch.empty(batch, vocab, dtype=torch.int32, device=device)
    draw_kernel[(batch,)](
        logits, voice[0], slots, *voice[1:], *draw, maxima, masses, keys, tile_tokens, packed, packed_tokens,
        token, logprob, logits.stride(0), amateur_stride, vocab, shared, tiles,
        HAS_CONTRAST=contrasted, TILE=TILE, TILES=triton.next_power_of_2(tiles), CHUNK=CHUNK,
        enable_fp_fusion=FP_FUSION,
    )  # fmt: skip
    return Drawn(token, logprob)


def _slots(rows: ContrastRows, batch: int) -> torch.Tensor:
    """Which of the asking rows each row of the batch is, int32 [batch]; -1 for none."""
    asking = torch.arange(len(rows), dtype=torch.int32, device=rows.weight.device)
    if rows.index is None:
        return asking
    return asking.new_full((batch,), -1).index_copy_(0, rows.index, asking)


def _signature(*names: str, logits: str, amateur: str) -> dict[str, str]:
    """The types of a kernel's arguments, which have one type a name throughout this file."""
    types = {
        "logits": f"*{logits}",
        "amateur": f"*{amateur}",
        **dict.fromkeys(("row_of", "token_of", "seed", "position", "token_out"), "*i64"),
        **dict.fromkeys(("slots", "count", "top_k", "tokens_out", "tokens_in", "packed_tokens"), "*i32"),
        "prompted": "*i1",
        **dict.fromkeys(("stride", "amateur_stride"), "i64:16"),
        **dict.fromkeys(("batch", "vocab", "shared", "tiles", "entries"), "i32"),
    }
    return {name: types.get(name, "*fp32") for name in names}


def _builds() -> tuple[Build, ...]:
    """Every branch in float32, and every pair of types in the fullest branch."""
    half = [("fp32", "bf16"), ("fp32", "fp16"), ("bf16", "bf16"), ("fp16", "fp16")]
    builds = []
    for kernel, pairs, constexprs in (
        (edit_kernel, [], {"BLOCK": EDIT_BLOCK}),
        (tile_kernel, half[2:], {"TILE": TILE}),
        (draw_kernel, half, {"TILE": TILE, "TILES": 256, "CHUNK": CHUNK}),
    ):
        cases = [(False, ("fp32", "fp32")), *((True, pair) for pair in [("fp32", "fp32"), *pairs])]
        for contrasted, (logits, amateur) in cases:
            chosen = {"HAS_CONTRAST": contrasted, **constexprs}
            names = [name for name in kernel.arg_names if name not in chosen]
            builds.append(
                Build(
                    f"{kernel.__name__} {logits} {amateur} {'contrast' if contrasted else 'plain'}",
                    kernel,
                    _signature(*names, logits=logits, amateur=amateur),
                    chosen,
                )
            )
    return tuple(builds)


BUILDS = _builds()
