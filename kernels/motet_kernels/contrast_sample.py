"""From two models' logits to a token, in one go: edits, contrast, temperature, truncation and the draw."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch

from motet_kernels.contrast import ContrastRows

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

    def of_these(self, which: torch.Tensor) -> Sampling:
        """How some rows are drawn, for a batch of these rows alone."""
        return Sampling(*(getattr(self, field.name)[which] for field in fields(self)))


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

        with torch.cuda.device_of(logits):
            return contrast_sample_triton(logits, sampling, amateur, rows, edits)
    from motet_kernels.contrast_sample_torch import contrast_sample_torch

    return contrast_sample_torch(logits, sampling, amateur, rows, edits)
