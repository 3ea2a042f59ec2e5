"""Tells a wrong result, so that nothing wrong is timed. The reference is eager PyTorch's, by the published formulas.

Two correct programs may differ where rounding decides: which side of the plausible head's or top-p's edge a token is
on. Such rows and tokens are left out; tests of the kernels themselves decide them in float64.
"""

from __future__ import annotations

import torch

from motet_benchmarks.kernels.cases import BFLOAT16, Case
from motet_benchmarks.kernels.inputs import Voices
from motet_benchmarks.kernels.rivals import edit, truncated

#: How near the head's edge rounding decides.
NEAR = 1e-4


def scores_fault(
    wanted: torch.Tensor,  # [batch, vocab]
    given: Voices,
    found: torch.Tensor,  # [batch, vocab]
) -> str | None:
    """What is wrong with scores: they may differ from those wanted by a constant a row."""
    found = found.float()
    kept, expected = found > -torch.inf, wanted > -torch.inf
    if (mistaken := ((kept != expected) & ~_near(given)).sum()) > 0:
        return f"{int(mistaken)} tokens are on the wrong side of the mask"
    both = kept & expected
    apart = [
        scores.where(both, -torch.inf) - scores.where(both, -torch.inf).amax(dim=1, keepdim=True)
        for scores in (found, wanted)
    ]
    error = float((apart[0] - apart[1])[both].abs().max())
    allowed = NEAR + 2 * torch.finfo(given.expert.dtype).eps * float(found[both].abs().max())
    return None if error <= allowed else f"scores are wrong by up to {error:.2g}"


def sample_fault(
    scores: torch.Tensor,  # [batch, vocab]
    given: Voices,
    found: tuple[torch.Tensor, torch.Tensor | None],  # [batch], [batch]
) -> str | None:
    """What is wrong with drawn tokens, given what they are drawn from: those not kept, or other log-probabilities."""
    token, logprob = found
    batch, vocab = scores.shape
    if token.shape != (batch,) or bool(((token < 0) | (token >= vocab)).any()):
        return "tokens are outside the vocabulary"
    controls, expert = given.controls, given.expert
    kept = truncated(scores, controls, given.sampling).log_softmax(dim=1)
    if controls.temperature == 0:
        lowest, edge = kept.amax(dim=1), torch.zeros(batch, device=kept.device)
    else:
        lowest = kept.where(kept > -torch.inf, torch.inf).amin(dim=1)
        # Whether a token at top-k's or top-p's edge is kept, rounding may decide, and it moves all others' share.
        edge = lowest.exp() * (controls.top_k > 0 or controls.top_p < 1)
    heat = torch.where(given.sampling.temperature > 0, given.sampling.temperature, 1.0)
    chosen = scores.gather(1, token[:, None])[:, 0]
    # Relative to the favourite, which is kept: tokens that tie at an edge may be kept together or not.
    expected = kept.amax(dim=1) + (chosen - scores.amax(dim=1)) / heat
    clear = ~_near(given).any(dim=1)
    wrong = ((expected < lowest - NEAR) | ~expected.isfinite()) & clear
    if wrong.any():
        return f"{int(wrong.sum())} of {batch} tokens can't have been drawn"
    if logprob is None:
        return None
    error = (logprob - expected).abs()
    allowed = edge + (0.1 if expert.dtype == torch.bfloat16 else 0.01)  # half precisions are full of ties
    if (right := (error <= allowed) | ~clear).all():
        return None
    return f"log-probabilities are wrong by up to {float(error[~right].max()):.2g}"


def logprobs_fault(
    wanted: tuple[torch.Tensor, ...], case: Case, found: tuple[torch.Tensor, ...]
) -> str | None:
    """What is wrong with log-probabilities and gradients, each relative to the largest of its kind."""
    allowed = 2e-2 if case.dtype == BFLOAT16 else 1e-3
    for name, one, other in zip(("log-probabilities", "gradients", "gradients"), found, wanted, strict=False):
        error = float((one.float() - other.float()).abs().max() / other.float().abs().max())
        if not error <= allowed:  # NaN is wrong too
            return f"{name} are wrong by up to {100 * error:.2g}% of the largest"
    return None


def _near(given: Voices) -> torch.Tensor:
    """Where a token is so near the head's edge that rounding decides, [batch, vocab]."""
    logits = given.expert.float() if given.edits is None else edit(given.expert.float(), given.edits)
    near = torch.zeros_like(logits, dtype=torch.bool)
    if given.rows is None:
        return near
    index = slice(None) if given.rows.index is None else given.rows.index
    asking = logits[index]
    edge = asking.amax(dim=1, keepdim=True) + given.rows.floor[:, None]
    near[index] = (asking - edge).abs() < NEAR
    return near
