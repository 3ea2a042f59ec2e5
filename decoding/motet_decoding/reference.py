"""Contrastive decoding as one would write it with transformers: slow, plain, and what the engine must agree with.

Nothing here is used to serve. Tests hold the engine against it and benchmarks measure the engine against it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from motet_decoding.contrast import Contrast


def contrast_scores(
    expert: torch.Tensor,  # [..., vocab]
    amateur: torch.Tensor,  # [..., vocab]
    contrast: Contrast,
) -> torch.Tensor:
    """Scores with the papers' log-softmax normalisers spelled out, in the precision of the arguments.

    ``(1 + s) log p_e - s log p_a`` or ``log p_e - s log p_a`` where ``p_e >= plausibility * max p_e``, else -inf.
    """
    log_expert = expert.log_softmax(-1)
    log_amateur = (amateur / contrast.amateur_temperature).log_softmax(-1)
    weight = 1.0 + contrast.strength if contrast.form == "extrapolate" else 1.0
    scores = weight * log_expert - contrast.strength * log_amateur
    implausible = log_expert.exp() < contrast.plausibility * log_expert.exp().amax(-1, keepdim=True)
    return scores.masked_fill(implausible, -torch.inf)


class AmateurVoice:
    """A transformers ``LogitsProcessor`` that runs the amateur beside ``generate``, with a cache of its own.

    The prompts of a batch may be padded on the left; ``attention_mask`` says where.
    """

    def __init__(self, amateur: Any, contrast: Contrast, attention_mask: torch.Tensor | None = None) -> None:
        self.amateur, self.contrast, self.mask = amateur, contrast, attention_mask
        self.cache: Any = None

    @torch.no_grad()
    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Contrastive scores, [batch, vocab], for the tokens so far, [batch, length]."""
        length = input_ids.shape[1]
        mask = self.mask if self.mask is not None else torch.ones_like(input_ids)
        self.mask = mask = torch.nn.functional.pad(mask, (0, length - mask.shape[1]), value=1)
        fresh = input_ids if self.cache is None else input_ids[:, -1:]
        positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, -fresh.shape[1] :]
        output = self.amateur(
            fresh, attention_mask=mask, position_ids=positions, past_key_values=self.cache, use_cache=True
        )
        self.cache = output.past_key_values
        return contrast_scores(scores.float(), output.logits[:, -1].float(), self.contrast)


def greedy_tokens(
    expert: Any,
    amateur: Any,
    prompt: Sequence[int],
    contrast: Contrast | None,
    max_tokens: int,
    stop: Callable[[int], bool] = lambda token: False,
) -> list[int]:
    """The greedy continuation of one prompt by a loop over two whole forward passes a token, without any cache."""
    tokens = list(prompt)
    with torch.no_grad():
        for _ in range(max_tokens):
            context = torch.tensor([tokens])
            scores = expert(context).logits[0, -1].float()
            if contrast is not None:
                rivals = amateur(context).logits[0, -1].float()
                shared = min(len(scores), len(rivals))
                scores = contrast_scores(scores[:shared], rivals[:shared], contrast)
            tokens.append(int(scores.argmax()))
            if stop(tokens[-1]):
                break
    return tokens[len(prompt) :]
