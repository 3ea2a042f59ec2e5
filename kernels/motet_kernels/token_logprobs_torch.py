"""Log-probabilities of given tokens in plain torch: the twin of ``token_logprobs_triton``, function for function.

A block of rows at a time is widened, small enough to stay in a CPU's cache from one operation to the next; nothing of
the logits' size is allocated.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch

#: The id of a token that is not asked for (a prompt's, padding): its log-probability is 0, without a gradient.
IGNORE_INDEX = -100

#: Logits that are widened at a time.
_BLOCK = 1 << 19


class Reduced(NamedTuple):
    """What a pass over rows of logits leaves behind, in float32 (float64 for float64 logits)."""

    logprobs: torch.Tensor  # [rows]
    maximum: torch.Tensor  # [rows], the largest logit
    logsum: torch.Tensor  # [rows], log(sum(exp((logits - maximum) / temperature)))


def forward(
    logits: torch.Tensor,  # [rows, vocab]
    ids: torch.Tensor,  # [rows]
    temperature: float,
) -> Reduced:
    """Reduces each row of logits for one token, an id in [0, vocab) or ``IGNORE_INDEX``."""
    wide = torch.promote_types(logits.dtype, torch.float32)
    reduced = Reduced(*(torch.empty(len(ids), dtype=wide, device=logits.device) for _ in Reduced._fields))
    ignored = ids == IGNORE_INDEX
    columns = ids.masked_fill(ignored, 0)[:, None]
    for rows in _blocks(*logits.shape):
        maximum = logits[rows].amax(1, keepdim=True).to(wide)
        scores = (logits[rows] - maximum).div_(temperature)  # promoted to float32 before it is rounded
        reduced.maximum[rows] = maximum[:, 0]
        reduced.logprobs[rows] = scores.gather(1, columns[rows])[:, 0]
        reduced.logsum[rows] = scores.exp_().sum(1).log_()
    reduced.logprobs.sub_(reduced.logsum).masked_fill_(ignored, 0)
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
    """Writes the logits' gradient, ``upstream / temperature * (onehot(ids) - softmax)``, into ``out``.

    Args:
        out: overwritten; may be ``logits`` itself.
        logits: what ``forward`` reduced, or some of its columns.
        ids: as given to ``forward``.
        maximum: as found by ``forward``.
        logsum: as found by ``forward``.
        upstream: the gradient of the log-probabilities.
        temperature: as given to ``forward``.
        first: which of the vocabulary the first column is.
    """
    ignored = (ids == IGNORE_INDEX)[:, None]
    columns = ids[:, None] - first
    inside = (columns >= 0) & (columns < logits.shape[1])
    share = (upstream.to(maximum.dtype) / temperature)[:, None]
    at_token = share.masked_fill(~inside, 0)
    columns = columns.clamp(0, logits.shape[1] - 1)
    for rows in _blocks(*logits.shape):
        scores = (logits[rows] - maximum[rows, None]).div_(temperature).sub_(logsum[rows, None])
        gradient = scores.exp_().mul_(-share[rows]).scatter_add_(1, columns[rows], at_token[rows])
        out[rows] = gradient.masked_fill_(ignored[rows], 0)


def _blocks(rows: int, columns: int) -> Iterator[slice]:
    step = max(1, _BLOCK // columns)
    return (slice(start, start + step) for start in range(0, rows, step))
