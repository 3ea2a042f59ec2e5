"""Contrastive scores from two models' logits, for the rows of a batch that ask for them."""

from __future__ import annotations

import torch

#: Stands in for an amateur's -inf: large enough to dominate, small enough that no product with a strength overflows.
_AMATEUR_FLOOR = -1e30


def contrast(
    logits: torch.Tensor,  # [batch, vocab]
    amateur: torch.Tensor,  # [rows, amateur_vocab]
    strength: torch.Tensor,  # [rows]
    plausibility: torch.Tensor,  # [rows]
    extrapolate: torch.Tensor,  # [rows]
    amateur_temperature: torch.Tensor,  # [rows]
    *,
    rows: torch.Tensor | None = None,  # [rows]
    unedited: torch.Tensor | None = None,  # [rows, vocab]
) -> torch.Tensor:
    """Replaces the asking rows of ``logits`` by their contrastive scores, in place.

    With ``e`` the expert's and ``a`` the amateur's logits, ``s`` the strength, ``t`` the amateur's temperature:
    ``(1 + s) e - s a / t`` where ``extrapolate``, else ``e - s a / t`` (the ratio form), on the plausible head
    ``{e >= max(e) + log(plausibility)}``; ``-inf`` elsewhere. The log-softmax normalisers of the papers
    (arXiv 2210.15097, 2309.09117) are constant along a row and cancel in any softmax or argmax over the scores.

    A token that is ``-inf`` on entry (a grammar's or a ban's mask) stays so, and the head is measured against the
    best token that is left. A token that the amateur's vocabulary lacks is excluded: it can only be padding.

    Args:
        logits: the expert's, float32 or a half precision; masks and biases may already have been applied.
        amateur: the amateur's raw logits of the asking rows; may be narrower or wider than ``logits`` where the
            two models pad one vocabulary differently.
        strength: ``s``, at least 0.
        plausibility: in [0, 1]; 0 keeps every token.
        extrapolate: boolean; picks the form.
        amateur_temperature: ``t``, above 0.
        rows: which row of ``logits`` each asking row is; all of them, in order, when absent.
        unedited: the expert's raw logits of the asking rows, needed where ``logits`` has been edited by additive
            biases or penalties. Their edits are then added to the score once, not multiplied by ``1 + s``.

    Returns:
        ``logits`` itself.

    Raises:
        ValueError: for shapes that don't belong together.
    """
    asking = len(amateur)
    if asking != (len(logits) if rows is None else len(rows)):
        raise ValueError(
            f"{asking} amateur rows for {len(logits) if rows is None else len(rows)} asking rows"
        )
    expert = (logits if rows is None else logits[rows]).float()
    shared = min(expert.shape[1], amateur.shape[1])

    threshold = expert[:, :shared].amax(dim=1, keepdim=True) + plausibility.float().log()[:, None]
    # A row that is wholly masked has threshold -inf and must stay wholly masked.
    excluded = (expert < threshold) | (expert == -torch.inf)
    excluded[:, shared:] = True

    weight = torch.where(extrapolate, 1.0 + strength, torch.ones_like(strength)).float()[:, None]
    pull = (strength / amateur_temperature).float()[:, None]
    score = expert * weight if unedited is None else expert + unedited.float() * (weight - 1.0)
    score[:, :shared] -= amateur[:, :shared].float().clamp(min=_AMATEUR_FLOOR) * pull
    score.masked_fill_(excluded, -torch.inf)

    if rows is None:
        return logits.copy_(score)
    return logits.index_copy_(0, rows, score.to(logits.dtype))
