"""Contrastive scores from two models' logits, for the rows of a batch that ask for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

#: Logits for each thread that the twins work on at a time: what stays in a core's cache from one operation to the next,
#: and what malloc keeps instead of handing it back to the system, page by page.
_BLOCK = 1 << 19

#: Stands in for an amateur's -inf: large enough to dominate, small enough that no product with a strength overflows.
AMATEUR_FLOOR = -1e30


@dataclass(frozen=True, slots=True)
class ContrastRows:
    """Which rows of a batch ask for a contrast, and what the formula needs of each; made once, used every step.

    Attributes:
        weight: of the expert's logits, float32 [rows]: ``1 + s``, or 1 in the ratio form. Voices of weights below 0
            can bring it to 0 and below.
        pull: of the amateur's logits, float32 [rows]: ``s / t``; below 0 for a voice that is added.
        floor: log plausibility, float32 [rows]; -inf keeps every token.
        index: which row of the batch each is, int64 [rows]; None when every row asks, in order.
    """

    weight: torch.Tensor
    pull: torch.Tensor
    floor: torch.Tensor
    index: torch.Tensor | None = None

    @classmethod
    def of(
        cls,
        strength: torch.Tensor,  # [rows], at least 0
        plausibility: torch.Tensor,  # [rows], 0 to 1
        extrapolate: torch.Tensor,  # [rows], boolean: picks the form
        amateur_temperature: torch.Tensor,  # [rows], above 0
        index: torch.Tensor | None = None,
    ) -> ContrastRows:
        """From the settings as a request names them."""
        strength = strength.float()
        weight = torch.where(extrapolate, 1.0 + strength, torch.ones_like(strength))
        return cls(weight, strength / amateur_temperature.float(), plausibility.float().log(), index)

    def __len__(self) -> int:
        return len(self.weight)

    def of_these(self, which: slice | torch.Tensor) -> ContrastRows:
        """Some rows' settings, for a batch of these rows alone."""
        return ContrastRows(self.weight[which], self.pull[which], self.floor[which])


def contrast(
    logits: torch.Tensor,  # [batch, vocab]
    amateur: torch.Tensor,  # [rows, amateur_vocab]
    rows: ContrastRows,
    *,
    amateur_index: torch.Tensor | None = None,  # [rows]
    unedited: torch.Tensor | None = None,  # [rows, vocab]
    out: torch.Tensor | None = None,  # [rows, vocab]
) -> torch.Tensor:
    """Replaces the asking rows of ``logits`` by their contrastive scores, in place; or writes them to ``out``.

    With ``e`` the expert's and ``a`` the amateur's logits, ``s`` the strength, ``t`` the amateur's temperature:
    ``(1 + s) e - s a / t`` in the extrapolating form, ``e - s a / t`` in the ratio form, on the plausible head
    ``{e >= max(e) + log(plausibility)}``; ``-inf`` elsewhere. The log-softmax normalisers of the papers
    (arXiv 2210.15097, 2309.09117) are constant along a row and cancel in any softmax or argmax over the scores.

    A token that is ``-inf`` or NaN on entry (a grammar's or a ban's mask, a fault) is excluded, and the head is
    measured against the best token that is left. So is a token that the amateur's vocabulary lacks: it can only be
    padding. An amateur's NaN counts as its ``-inf``.

    Args:
        logits: the expert's, float32 or a half precision; masks and biases may already have been applied.
        amateur: the amateur's raw logits of the asking rows; may be narrower or wider than ``logits`` where the
            two models pad one vocabulary differently.
        rows: the asking rows.
        amateur_index: which row of ``amateur`` each asking row reads, int64; they may then be any number, and
            ``amateur`` may be ``logits`` itself, as long as no asking row is read as an amateur's. None: in order.
        unedited: the expert's raw logits of the asking rows, needed where ``logits`` has been edited by additive
            biases or penalties. Their edits are then added to the score once, not multiplied by ``1 + s``.
        out: where the asking rows' scores go, in order, instead of over the logits; of any floating type.

    Returns:
        ``logits`` itself, or ``out``.

    Raises:
        ValueError: for shapes that don't belong together.
    """
    asking = len(logits) if rows.index is None else len(rows)
    for name, tensor in (
        ("amateur", amateur if amateur_index is None else amateur_index),
        ("settings", rows.weight),
        ("unedited", unedited),
        ("out", out),
    ):
        if tensor is not None and len(tensor) != asking:
            raise ValueError(f"{len(tensor)} {name} rows for {asking} asking rows")
    if logits.is_cuda:
        from motet_kernels.contrast_triton import contrast_triton

        with torch.cuda.device_of(logits):
            return contrast_triton(logits, amateur, rows, unedited, out, amateur_index)
    return contrast_torch(logits, amateur, rows, unedited, out, amateur_index)


def contrast_torch(
    logits: torch.Tensor,
    amateur: torch.Tensor,
    rows: ContrastRows,
    unedited: torch.Tensor | None = None,
    out: torch.Tensor | None = None,
    amateur_index: torch.Tensor | None = None,
) -> torch.Tensor:
    """``contrast`` in plain torch: what the kernel must agree with, and what runs where there is no GPU."""
    for part in row_blocks(len(amateur if amateur_index is None else amateur_index), logits.shape[1]):
        place = part if rows.index is None else rows.index[part]
        voice = amateur[part if amateur_index is None else amateur_index[part]]
        raw = None if unedited is None else unedited[part]
        score = contrast_scores(logits[place], voice, rows.of_these(part), raw)
        if out is not None:
            out[part] = score
        elif isinstance(place, slice):
            logits[place] = score
        else:
            logits.index_copy_(0, place, score.to(logits.dtype))
    return logits if out is None else out


def row_blocks(rows: int, vocab: int) -> Iterator[slice]:
    """All rows in order, as many at a time as the twins of [rows, vocab] jobs should work on."""
    step = max(1, _BLOCK * torch.get_num_threads() // max(1, vocab))
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))


def contrast_scores(
    logits: torch.Tensor,  # [rows, vocab]
    amateur: torch.Tensor,  # [rows, amateur_vocab]
    rows: ContrastRows,
    unedited: torch.Tensor | None = None,  # [rows, vocab]
) -> torch.Tensor:
    """The scores of rows that all ask, float32 [rows, vocab], as a new tensor."""
    shared = min(logits.shape[1], amateur.shape[1])
    weight, pull, floor = (column[:, None] for column in (rows.weight, rows.pull, rows.floor))
    # Comparing and masking cost several times as much as arithmetic on a CPU: one comparison and one mask do.
    expert = logits.float().nan_to_num(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)
    expert[:, shared:] = -torch.inf
    highest = torch.finfo(torch.float32).max
    # Finite, so that what is excluded is always under it.
    threshold = (expert.amax(dim=1, keepdim=True).clamp_(max=highest) + floor).clamp_(min=-highest)
    implausible = expert < threshold

    if unedited is None:
        score = expert.mul_(weight)
    else:  # finite, because nothing times infinity is no number
        score = expert.addcmul_(unedited.float().clamp(-highest, highest), weight - 1.0)
    against = (
        amateur[:, :shared].float().nan_to_num(nan=AMATEUR_FLOOR, posinf=torch.inf, neginf=AMATEUR_FLOOR)
    )
    score[:, :shared] -= against.clamp_(min=AMATEUR_FLOOR).mul_(pull)
    return torch.where(implausible, -torch.inf, score)
