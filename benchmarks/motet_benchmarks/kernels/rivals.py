"""What the kernels are measured against: the formulas as papers write them, in eager PyTorch, and FlashInfer."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from motet_benchmarks.kernels.cases import Controls
from motet_kernels import ContrastRows, Edits, Sampling

if TYPE_CHECKING:
    from motet_benchmarks.kernels.inputs import Voices


def contrast_scores(
    expert: torch.Tensor,  # [rows, vocab]
    amateur: torch.Tensor,  # [rows, vocab]
    rows: ContrastRows,
    unedited: torch.Tensor | None = None,  # [rows, vocab]
) -> torch.Tensor:
    """``log p_e + s (log p_e - log p_a)`` where ``log p_e`` is within log(plausibility) of the best, as published."""
    strength, floor = rows.pull[:, None], rows.floor[:, None]
    log_expert = expert.float().log_softmax(dim=-1)
    log_amateur = amateur.float().log_softmax(dim=-1)
    moved = log_expert if unedited is None else unedited.float().log_softmax(dim=-1)
    implausible = log_expert < log_expert.amax(dim=-1, keepdim=True) + floor
    return (log_expert + strength * (moved - log_amateur)).masked_fill(implausible, -torch.inf)


def contrasted(
    logits: torch.Tensor,  # [batch, vocab]
    amateur: torch.Tensor,  # [rows, vocab]
    rows: ContrastRows,
    unedited: torch.Tensor | None = None,  # [batch, vocab]
) -> torch.Tensor:
    """A batch of float32 logits with the scores of the rows that ask."""
    index = rows.index
    if index is None:
        return contrast_scores(logits, amateur, rows, unedited)
    scores = contrast_scores(logits[index], amateur, rows, None if unedited is None else unedited[index])
    return logits.float().index_copy(0, index, scores)


def edit(logits: torch.Tensor, edits: Edits) -> torch.Tensor:
    """Float32 logits [batch, vocab] with penalties, as a copy."""
    row, token = edits.row, edits.token
    value = logits[row, token] + edits.bias
    repetition = torch.where(edits.prompted | (edits.count > 0), edits.repetition[row], 1.0)
    value = torch.where(value > 0, value / repetition, value * repetition)
    value = value - edits.frequency[row] * edits.count - edits.presence[row] * (edits.count > 0)
    return logits.index_put((row, token), value)


def truncated(scores: torch.Tensor, controls: Controls, sampling: Sampling) -> torch.Tensor:
    """Scores [batch, vocab] over the temperature, what min-p, top-k and top-p drop as -inf: by softmax and sort."""
    if controls.temperature == 0:
        return scores
    scores = scores / sampling.temperature[:, None]
    if controls.min_p:
        probabilities = scores.softmax(dim=-1)
        least = sampling.min_p[:, None] * probabilities.amax(dim=-1, keepdim=True)
        scores = scores.masked_fill(probabilities < least, -torch.inf)
    top_k = min(controls.top_k, scores.shape[-1])
    if controls.top_p == 1:
        if top_k:
            edge = scores.topk(top_k, dim=-1).values[:, -1:]
            scores = scores.masked_fill(scores < edge, -torch.inf)
        return scores
    ordered, order = scores.sort(dim=-1, descending=True)
    if top_k:
        ordered = ordered.masked_fill(ordered < ordered[:, top_k - 1 : top_k], -torch.inf)
    probabilities = ordered.softmax(dim=-1)
    before = probabilities.cumsum(dim=-1) - probabilities
    ordered = ordered.masked_fill(before >= sampling.top_p[:, None], -torch.inf)
    return torch.empty_like(scores).scatter(-1, order, ordered)


def scores(given: Voices, logits: torch.Tensor, amateur: torch.Tensor | None) -> torch.Tensor:
    """What is drawn from before any truncation, float32 [batch, vocab], for logits and an amateur as in ``given``."""
    edited = logits.float() if given.edits is None else edit(logits.float(), given.edits)
    if given.rows is None or amateur is None:
        return edited
    return contrasted(edited, amateur, given.rows, None if given.edits is None else logits)


def sample(
    given: Voices, logits: torch.Tensor, amateur: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Token and log-probability, both [batch]; the draw divides by exponential noise, which needs no sync."""
    logprobs = truncated(scores(given, logits, amateur), given.controls, given.sampling).log_softmax(dim=-1)
    if given.controls.temperature == 0:
        token = logprobs.argmax(dim=-1)
    else:
        token = (logprobs.exp() / torch.empty_like(logprobs).exponential_()).argmax(dim=-1)
    return token, logprobs.gather(-1, token[:, None])[:, 0]


def token_logprobs(ids: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """Of the tokens ``ids`` [batch], from logits [batch, vocab]."""
    return logits.float().log_softmax(dim=-1).gather(-1, ids[:, None])[:, 0]


def hidden_token_logprobs(ids: torch.Tensor, hidden: torch.Tensor, head: torch.Tensor) -> torch.Tensor:
    """The same from hidden states [batch, size] and the LM head [vocab, size]."""
    return token_logprobs(ids, functional.linear(hidden, head))


def flashinfer_draw(flashinfer: ModuleType, drawn_from: torch.Tensor, given: Voices) -> torch.Tensor:
    """Draws from float32 scores [batch, vocab] at a temperature above 0, with FlashInfer's kernel for them."""
    controls, sampling = given.controls, given.sampling
    heated = drawn_from / sampling.temperature[:, None]
    if controls.top_k and controls.top_p < 1:
        if controls.min_p:  # which no kernel of theirs combines with both
            least = heated.amax(dim=-1, keepdim=True) + sampling.min_p.log()[:, None]
            heated = heated.masked_fill(heated < least, -torch.inf)
        token = flashinfer.sampling.top_k_top_p_sampling_from_logits(heated, sampling.top_k, sampling.top_p)
    elif controls.top_k:
        token = flashinfer.sampling.top_k_sampling_from_probs(heated.softmax(dim=-1), sampling.top_k)
    elif controls.top_p < 1:
        token = flashinfer.sampling.top_p_sampling_from_probs(heated.softmax(dim=-1), sampling.top_p)
    elif controls.min_p:
        token = flashinfer.sampling.min_p_sampling_from_probs(heated.softmax(dim=-1), sampling.min_p)
    else:
        token = flashinfer.sampling.sampling_from_logits(heated)
    return token.long()
