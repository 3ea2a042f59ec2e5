"""``contrast_sample`` in plain torch: what the kernels must agree with, and what runs where there is no GPU.

A block of rows at a time goes through all steps, small enough to stay in a CPU's cache from one to the next. There,
comparing, masking and sorting cost several times what arithmetic does, and noise more than all of them: a row whose
truncation leaves few tokens gets noise for these alone.
"""

from __future__ import annotations

import numpy as np
import torch

from motet_kernels.contrast import ContrastRows, contrast_scores, row_blocks
from motet_kernels.contrast_sample import LARGEST_SCORE, NO_TOKEN, Drawn, Edits, Sampling
from motet_kernels.noise import gumbel, noise_keys, random_bits

#: Of what part of the vocabulary a row keeps more than one token, it is quicker to make noise for all of them.
CROWDED = 8
#: Up to so many scores of a row, it is quicker to find the best than to sort the row.
SHALLOW = 512


def contrast_sample_torch(
    logits: torch.Tensor,
    sampling: Sampling,
    amateur: torch.Tensor | None = None,
    rows: ContrastRows | None = None,
    edits: Edits | None = None,
) -> Drawn:
    """See ``contrast_sample``."""
    batch, vocab = logits.shape
    token = torch.empty(batch, dtype=torch.int64, device=logits.device)
    logprob = torch.empty(batch, device=logits.device)
    keys: tuple[torch.Tensor, torch.Tensor] | None = None
    greedy = sampling.temperature == 0
    for part in row_blocks(batch, vocab):
        scores = _scores(logits, part, amateur, rows, edits).clamp_(max=LARGEST_SCORE)
        cold, warm = (chosen[part].nonzero()[:, 0] for chosen in (greedy, ~greedy))
        if len(cold):
            token[part.start + cold], logprob[part.start + cold] = _take_best(_picked(scores, cold))
        if len(warm):
            keys = keys or noise_keys(sampling.seed, sampling.position)
            place = part.start + warm
            arguments = sampling.of_these(place), keys[0][place], keys[1][place]
            token[place], logprob[place] = _draw(_picked(scores, warm), *arguments)
    return Drawn(token.masked_fill_(logprob.isnan(), NO_TOKEN), logprob)


def _scores(
    logits: torch.Tensor,
    part: slice,
    amateur: torch.Tensor | None,
    rows: ContrastRows | None,
    edits: Edits | None,
) -> torch.Tensor:
    """What some rows of the batch are drawn from, float32, a tensor of its own. Edits the logits."""
    unedited = None
    if edits is not None:
        unedited = logits[part].clone()
        _edit(logits, edits, part)
    if rows is not None and amateur is not None and rows.index is None:
        return contrast_scores(logits[part], amateur[part], rows.of_these(part), unedited)
    scores = logits[part].float().nan_to_num(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)
    if rows is not None and amateur is not None and rows.index is not None:
        asking = ((rows.index >= part.start) & (rows.index < part.stop)).nonzero()[:, 0]
        place = rows.index[asking] - part.start
        raw = None if unedited is None else unedited[place]
        scores[place] = contrast_scores(logits[part][place], amateur[asking], rows.of_these(asking), raw)
    return scores


def _edit(logits: torch.Tensor, edits: Edits, part: slice) -> None:
    """Applies the edits of some rows in place; a masked token stays masked."""
    inside = (edits.row >= part.start) & (edits.row < part.stop)
    inside &= (edits.token >= 0) & (edits.token < logits.shape[1])
    row, token = edits.row[inside], edits.token[inside]
    count, seen = edits.count[inside], edits.prompted[inside]
    value = logits[row, token] + edits.bias[inside]
    repetition = torch.where(seen | (count > 0), edits.repetition[row], 1.0)
    value = torch.where(value > 0, value / repetition, value * repetition)
    value -= edits.frequency[row] * count + edits.presence[row] * (count > 0)
    logits[row, token] = value


def _take_best(scores: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Token and log-probability of rows at temperature 0; NaN where every score is -inf."""
    return scores.argmax(dim=1), scores.log_softmax(dim=1).amax(dim=1)


def _draw(
    scores: torch.Tensor, sampling: Sampling, first: torch.Tensor, second: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Token and log-probability of rows at other temperatures; NaN where every score is -inf. Changes the scores."""
    scores.div_(sampling.temperature[:, None])
    best = scores.amax(dim=1)
    keep = scores >= _truncation(scores, best, sampling)[:, None]
    crowded = CROWDED * keep.sum(dim=1) > scores.shape[1]
    token, logprob = torch.empty_like(best, dtype=torch.int64), torch.empty_like(best)
    for draw, chosen in ((_draw_from_all, crowded), (_draw_from_few, ~crowded)):
        which = chosen.nonzero()[:, 0]
        if len(which):
            columns = (_picked(tensor, which) for tensor in (scores, keep, best, first, second))
            token[which], logprob[which] = draw(*columns)
    return token, logprob


def _draw_from_all(
    scores: torch.Tensor, keep: torch.Tensor, best: torch.Tensor, first: torch.Tensor, second: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draws with noise for every token of a row."""
    kept = torch.where(keep, scores, -torch.inf)
    tokens = torch.arange(scores.shape[1], dtype=torch.int32, device=scores.device)
    token = gumbel(random_bits((first[:, None], second[:, None]), tokens)).add_(kept).argmax(dim=1)
    return token, kept.log_softmax(dim=1).gather(1, token[:, None])[:, 0]


def _draw_from_few(
    scores: torch.Tensor, keep: torch.Tensor, best: torch.Tensor, first: torch.Tensor, second: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draws with noise for the kept tokens alone, in one list for all rows."""
    row, candidate = keep.nonzero(as_tuple=True)
    values = scores[row, candidate]
    favour = values + gumbel(random_bits((first[row], second[row]), candidate.to(torch.int32)))
    highest = torch.full_like(best, -torch.inf).scatter_reduce_(0, row, favour, "amax")
    winner = favour == highest[row]
    last = torch.full_like(best, scores.shape[1] - 1, dtype=torch.int64)
    token = last.scatter_reduce_(0, row[winner], candidate[winner], "amin")
    mass = torch.zeros_like(best).index_add_(0, row, (values - best[row]).exp())
    return token, scores.gather(1, token[:, None])[:, 0] - best - mass.log()


def _truncation(scores: torch.Tensor, best: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """The lowest score that min-p, top-k and top-p keep, [batch], for scores already divided by temperature.

    It is finite, so that -inf is always under it.
    """
    bound = (best + sampling.min_p.log()).clamp_(min=torch.finfo(torch.float32).min)
    by_count, by_mass = (sampling.top_k > 0) & (sampling.top_k < scores.shape[1]), sampling.top_p < 1
    narrow = (by_count | by_mass).nonzero()[:, 0]
    if not len(narrow):
        return bound
    by_count, by_mass = by_count[narrow], by_mass[narrow]
    scores, best, lowest = _picked(scores, narrow), best[narrow, None], bound[narrow, None]
    # Mass needs all that is left of a row in order; counts alone only its best few.
    left = (scores >= lowest).sum(dim=1) if by_mass.any() else sampling.top_k[narrow][by_count]
    ordered = _descending(scores, max(1, int(left.max())))
    place = torch.where(by_count, sampling.top_k[narrow], 1).long().clamp_(max=ordered.shape[1]) - 1
    edge = ordered.gather(1, place[:, None]).masked_fill_(~by_count[:, None], -torch.inf)
    lowest = torch.maximum(lowest, edge)
    if by_mass.any():
        left = torch.searchsorted(ordered.neg(), lowest.neg(), right=True)
        ordered = ordered[:, : max(1, int(left.max()))]
        mass = (ordered - best).exp().masked_fill_(ordered < lowest, 0.0).double()
        reached = mass.cumsum(dim=1)
        enough = reached < sampling.top_p[narrow, None] * reached[:, -1:]
        last = enough.sum(dim=1, keepdim=True).clamp_(max=ordered.shape[1] - 1)
        edge = ordered.gather(1, last).masked_fill_(~by_mass[:, None], -torch.inf)
        lowest = torch.maximum(lowest, edge)
    bound[narrow] = lowest[:, 0]
    return bound


def _descending(scores: torch.Tensor, depth: int) -> torch.Tensor:
    """The ``depth`` best scores of each row in order, without their places."""
    if depth <= SHALLOW:
        return scores.topk(depth, dim=1).values
    # torch's sort carries the places along, which takes it ten times as long and more.
    ordered = torch.from_numpy(np.sort(scores.neg().cpu().numpy(), axis=1)).to(scores.device)
    return ordered[:, :depth].neg()


def _picked(tensor: torch.Tensor, which: torch.Tensor) -> torch.Tensor:
    """Some rows of a tensor; the tensor itself if it is all of them."""
    return tensor if len(which) == len(tensor) else tensor[which]
