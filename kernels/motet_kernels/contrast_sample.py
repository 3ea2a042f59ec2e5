"""From two models' logits to a token, in one go: edits, contrast, temperature, truncation and the draw."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from motet_kernels.contrast import ContrastRows, contrast_scores
from motet_kernels.noise import gumbel, noise_keys, random_bits

#: What a score of +inf counts as, so that differences of scores stay numbers.
LARGEST_SCORE = 1e30
#: The token of a row in which every logit is masked: there is nothing to draw.
NO_TOKEN = -1


@dataclass(frozen=True, slots=True)
class Sampling:
    """How each row of a batch is drawn; all [batch].

    Attributes:
        temperature: float32, at least 0; 0 takes the best token, and the truncations don't matter.
        min_p: float32 in [0, 1]; tokens less likely than this share of the likeliest are dropped; 0 drops none.
        top_k: int32; tokens below the k-th best score are dropped; 0 drops none.
        top_p: float32 in [0, 1]; the best tokens that together reach this probability are kept; 1 keeps all.
        seed: int64, the request's.
        position: int64, the token's place in its sequence: the same seed and place give the same draw anywhere.
    """

    temperature: torch.Tensor
    min_p: torch.Tensor
    top_k: torch.Tensor
    top_p: torch.Tensor
    seed: torch.Tensor
    position: torch.Tensor


@dataclass(frozen=True, slots=True)
class Edits:
    """Biases and penalties of the few tokens that have any: one entry a (row, token), no pair twice.

    Attributes:
        row, token: int64 [entries]; an entry outside the logits is left out.
        bias: float32 [entries], added first.
        count: int32 [entries]; how often the row's answer has the token.
        prompted: boolean [entries]; whether the row's prompt has it.
        repetition, frequency, presence: float32 [batch]; neutral at 1, 0 and 0.
    """

    row: torch.Tensor
    token: torch.Tensor
    bias: torch.Tensor
    count: torch.Tensor
    prompted: torch.Tensor
    repetition: torch.Tensor
    frequency: torch.Tensor
    presence: torch.Tensor


@dataclass(frozen=True, slots=True)
class Drawn:
    """The drawn ``token``, int64 [batch], and its ``logprob``, float32 [batch].

    The log-probability is that of the distribution drawn from; for temperature 0, of the untruncated one at
    temperature 1. A row whose logits are all masked gives ``NO_TOKEN`` and NaN.
    """

    token: torch.Tensor
    logprob: torch.Tensor


def contrast_sample(
    logits: torch.Tensor,  # [batch, vocab]
    sampling: Sampling,
    *,
    amateur: torch.Tensor | None = None,  # [rows, amateur_vocab]
    rows: ContrastRows | None = None,
    edits: Edits | None = None,
) -> Drawn:
    """Draws a token for every row, contrast rows and plain ones alike.

    In this order: ``edits`` (bias, then repetition, frequency and presence penalties) on the expert's logits; the
    contrast (see ``contrast``; edits count once); division by the temperature; min-p; top-k; top-p of what is left;
    and the Gumbel-max draw ``argmax(x + g)``, ``g`` a function of (seed, position, token). Tokens that tie at a
    truncation's edge stay together, so that nothing depends on the order of a sort. A row's result doesn't depend
    on the other rows.

    Args:
        logits: the expert's, float32 or a half precision. With ``edits`` they are edited in place, and must be float32.
        sampling: how to draw.
        amateur: the amateur's logits of the asking rows.
        rows: the asking rows; needed with ``amateur``.
        edits: biases and penalties.

    Raises:
        ValueError: for shapes or types that don't belong together.
    """
    if (amateur is None) != (rows is None):
        raise ValueError("amateur and rows: give both or neither")
    asking = None if rows is None else (len(logits) if rows.index is None else len(rows))
    if rows is not None and amateur is not None and not len(amateur) == len(rows) == asking:
        raise ValueError(f"{len(amateur)} amateur rows and {len(rows)} settings for {asking} asking rows")
    if len(sampling.temperature) != len(logits):
        raise ValueError(f"{len(sampling.temperature)} sampling rows for {len(logits)} rows of logits")
    if edits is not None and logits.dtype != torch.float32:
        raise ValueError(f"logits: edits need float32, not {logits.dtype}")
    if edits is not None and amateur is not None:
        amateur = amateur.float()  # edited too, and a half precision would round the edits away
    if logits.is_cuda:
        from motet_kernels.contrast_sample_triton import contrast_sample_triton

        return contrast_sample_triton(logits, sampling, amateur, rows, edits)
    return contrast_sample_torch(logits, sampling, amateur, rows, edits)


def contrast_sample_torch(
    logits: torch.Tensor,
    sampling: Sampling,
    amateur: torch.Tensor | None = None,
    rows: ContrastRows | None = None,
    edits: Edits | None = None,
) -> Drawn:
    """``contrast_sample`` in plain torch: what the kernels must agree with, and what runs where there is no GPU."""
    unedited = None
    if edits is not None:
        if rows is not None:
            unedited = logits.clone() if rows.index is None else logits[rows.index]
        edit_torch(logits, edits)
    scores = logits.float().masked_fill(logits.isnan(), -torch.inf)
    if rows is not None and amateur is not None:
        asking = logits if rows.index is None else logits[rows.index]
        contrasted = contrast_scores(asking, amateur, rows, unedited)
        scores = contrasted if rows.index is None else scores.index_copy_(0, rows.index, contrasted)
    greedy = sampling.temperature == 0
    scores.clamp_(max=LARGEST_SCORE)
    scores /= torch.where(greedy, 1.0, sampling.temperature)[:, None]
    best, token = scores.max(dim=1)
    logprob = torch.empty_like(best)
    if greedy.any():
        logprob[greedy] = best[greedy] - scores[greedy].logsumexp(dim=1)
    bound = truncation(scores, best, sampling)
    row, candidate = ((scores >= bound[:, None]) & (scores > -torch.inf) & ~greedy[:, None]).nonzero(
        as_tuple=True
    )
    first, second = noise_keys(sampling.seed, sampling.position)
    values = scores[row, candidate]
    noise = gumbel(random_bits((first[row], second[row]), candidate.to(torch.int32)))
    favour = values + noise
    highest = torch.full_like(best, -torch.inf).scatter_reduce_(0, row, favour, "amax")
    winner = favour == highest[row]
    drawn = torch.full_like(token, scores.shape[1]).scatter_reduce_(0, row[winner], candidate[winner], "amin")
    mass = torch.zeros_like(best).index_add_(0, row, (values - best[row]).exp())
    sampled = ~greedy & (best > -torch.inf)
    token[sampled] = drawn[sampled]
    logprob[sampled] = (scores.gather(1, token[:, None])[:, 0] - best - mass.log())[sampled]
    dead = best == -torch.inf
    return Drawn(token.masked_fill_(dead, NO_TOKEN), logprob.masked_fill_(dead, torch.nan))


def edit_torch(logits: torch.Tensor, edits: Edits) -> None:
    """Applies the edits in place; a masked token stays masked."""
    inside = (
        (edits.row >= 0) & (edits.row < len(logits)) & (edits.token >= 0) & (edits.token < logits.shape[1])
    )
    row, token = edits.row[inside], edits.token[inside]
    count, seen = edits.count[inside], edits.prompted[inside]
    value = logits[row, token] + edits.bias[inside]
    repetition = torch.where(seen | (count > 0), edits.repetition[row], 1.0)
    value = torch.where(value > 0, value / repetition, value * repetition)
    value -= edits.frequency[row] * count + edits.presence[row] * (count > 0)
    logits[row, token] = value


def truncation(scores: torch.Tensor, best: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """The lowest score that min-p, top-k and top-p keep, [batch], for scores already divided by temperature."""
    bound = best + sampling.min_p.log()
    greedy, vocab = sampling.temperature == 0, scores.shape[1]
    by_count = (sampling.top_k > 0) & (sampling.top_k < vocab) & ~greedy
    by_mass = (sampling.top_p < 1) & ~greedy
    narrow = (by_count | by_mass).nonzero()[:, 0]
    if not len(narrow):
        return bound
    # Mass needs the whole row in order; counts alone only its best few.
    depth = vocab if by_mass.any() else int(sampling.top_k[by_count].max())
    ordered = scores[narrow].topk(depth, dim=1).values
    place = torch.where(by_count[narrow], sampling.top_k[narrow], depth).long() - 1
    edge = ordered.gather(1, place[:, None])[:, 0].masked_fill(~by_count[narrow], -torch.inf)
    bound[narrow] = torch.maximum(bound[narrow], edge)
    if by_mass.any():
        mass = (ordered - best[narrow, None]).exp().masked_fill(ordered < bound[narrow, None], 0.0).double()
        reached = mass.cumsum(dim=1)
        enough = reached < sampling.top_p[narrow, None] * reached[:, -1:]
        last = enough.sum(dim=1).clamp_(max=depth - 1)
        edge = ordered.gather(1, last[:, None])[:, 0].masked_fill(~by_mass[narrow], -torch.inf)
        bound[narrow] = torch.maximum(bound[narrow], edge)
    return bound
