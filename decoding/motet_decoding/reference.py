"""Contrastive decoding as one would write it with transformers: slow, plain, and what the engine must agree with.

Nothing here is used to serve. Tests hold the engine against it and benchmarks measure the engine against it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from motet_decoding.adapting import Adapt, ByDivergence, ByEntropy
from motet_decoding.contrast import Contrast, Formula

#: The weights of voices and their logits, [..., vocab].
Weighed = Sequence[tuple[float, torch.Tensor]]


def contrast_scores(
    expert: torch.Tensor,  # [..., vocab]
    amateur: torch.Tensor,  # [..., vocab]
    contrast: Formula,
    position: int = 0,
) -> torch.Tensor:
    """``mixed_scores`` of one voice."""
    return mixed_scores(expert, [(1.0, amateur)], contrast, position)


def mixed_scores(
    expert: torch.Tensor,  # [..., vocab]
    voices: Weighed,
    formula: Formula,
    position: int = 0,
) -> torch.Tensor:
    """Scores with the papers' log-softmax normalisers spelled out, in the precision of the arguments.

    ``(1 + s w) log p_e - s sum_k w_k log p_k`` or ``log p_e - s sum_k w_k log p_k`` where ``p_e >= plausibility *
    max p_e``, else -inf; ``s`` is the strength's share that the token at ``position`` (from 0) of the answer gets.
    """
    log_expert = expert.log_softmax(-1)
    strength = formula.strength * share(expert, voices, formula.adapt, position)
    taken = sum(weight * (voice / formula.amateur_temperature).log_softmax(-1) for weight, voice in voices)
    total = sum(weight for weight, _ in voices)
    kept = 1.0 + strength * total if formula.form == "extrapolate" else 1.0
    scores = kept * log_expert - strength * taken
    implausible = log_expert.exp() < formula.plausibility * log_expert.exp().amax(-1, keepdim=True)
    # What the expert can't say at all, nobody else makes it say.
    return scores.masked_fill(implausible | expert.isneginf(), -torch.inf)


def share(expert: torch.Tensor, voices: Weighed, adapt: Adapt | None, position: int) -> torch.Tensor:
    """How much of the strength a token gets, from 0 to 1, [..., 1]."""
    if adapt is None:
        return expert.new_ones(())
    if isinstance(adapt, ByEntropy):
        logs = expert.log_softmax(-1)
        measured = -(logs.exp() * logs).nan_to_num(0.0).sum(-1, keepdim=True)
        return (measured / adapt.scale).clamp(max=1.0)
    if isinstance(adapt, ByDivergence):
        sizes = sum(abs(weight) for weight, _ in voices)
        nats = (
            torch.stack([abs(weight) * divergence(expert, voice) for weight, voice in voices]).sum(0) / sizes
        )
        return (nats / math.log(2) / adapt.scale).clamp(max=1.0)
    gone = min(1.0, position / adapt.tokens)
    turned = {"linear": gone, "cosine": (1.0 - math.cos(math.pi * gone)) / 2.0, "step": float(gone >= 1.0)}
    return expert.new_tensor(adapt.start + (adapt.end - adapt.start) * turned[adapt.shape])


def divergence(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """The Jensen-Shannon divergence of two distributions given by logits, [..., vocab], in nats: [..., 1]."""
    logs = one.log_softmax(-1), other.log_softmax(-1)
    middle = torch.logaddexp(*logs) - math.log(2)
    parts = [(log.exp() * (log - middle)).nan_to_num(0.0).sum(-1, keepdim=True) for log in logs]
    return (parts[0] + parts[1]) / 2.0


@dataclass(frozen=True)
class Speaker:
    """One voice: a model of transformers or PEFT, what it reads before the answer, and where it is listened to.

    Attributes:
        model: any for causal language modelling.
        prompt: tokens.
        layers: after how many of its layers its state goes through the final norm and the head; the prediction that
            differs most from the last layer's counts (DoLa). None: after all of them.
    """

    model: Any
    prompt: Sequence[int]
    layers: tuple[int, ...] = ()

    def __call__(self, answer: Sequence[int]) -> torch.Tensor:
        """Logits, float32 [vocab], of the token after the answer so far."""
        return self.along(answer)[-1]

    @torch.no_grad()
    def along(self, answer: Sequence[int]) -> torch.Tensor:
        """Logits, float32 [tokens + 1, vocab], of each of an answer's tokens and of the one after it, in one pass."""
        tokens = torch.tensor([[*self.prompt, *answer]])
        output = self.model(tokens, output_hidden_states=bool(self.layers))
        places = slice(len(self.prompt) - 1, None)
        last: torch.Tensor = output.logits[0, places].float()
        if not self.layers:
            return last
        whole = self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model
        states = torch.stack([output.hidden_states[layer][0, places] for layer in self.layers])
        early = whole.get_output_embeddings()(whole.get_decoder().norm(states)).float()
        chosen: torch.Tensor = early[divergence(last, early)[..., 0].argmax(0), torch.arange(len(last))]
        return chosen


class AmateurVoice:
    """A transformers ``LogitsProcessor`` that runs the amateur beside ``generate``, with a cache of its own.

    The prompts of a batch may be padded on the left; ``attention_mask`` says where.
    """

    def __init__(self, amateur: Any, contrast: Contrast, attention_mask: torch.Tensor | None = None) -> None:
        self.amateur, self.contrast, self.mask = amateur, contrast, attention_mask
        self.cache: Any = None
        self.position = 0

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
        self.position += 1
        rivals = output.logits[:, -1].float()
        return contrast_scores(scores.float(), rivals, self.contrast, self.position - 1)


def greedy_scores(
    expert: Callable[[Sequence[int]], torch.Tensor],
    voices: Sequence[tuple[float, Callable[[Sequence[int]], torch.Tensor]]],
    formula: Formula | None,
) -> Iterator[torch.Tensor]:
    """The scores, [vocab], of one greedy token after another, without end; each a whole forward pass of every voice.

    Args:
        expert: from the answer so far to the answering voice's logits.
        voices: those taken away, with their weights.
        formula: how they are put together; None is the expert alone.
    """
    answer: list[int] = []
    while True:
        scores = expert(answer)
        if formula is not None:
            heard = [(weight, voice(answer)) for weight, voice in voices]
            shared = min(len(scores), *(len(logits) for _, logits in heard))
            scores = mixed_scores(
                scores[:shared],
                [(weight, logits[:shared]) for weight, logits in heard],
                formula,
                position=len(answer),
            )
        yield scores
        answer.append(int(scores.argmax()))


def greedy_tokens(
    expert: Any,
    amateur: Any,
    prompt: Sequence[int],
    contrast: Formula | None,
    max_tokens: int,
    stop: Callable[[int], bool] = lambda token: False,
) -> list[int]:
    """The greedy continuation of one prompt against an amateur, or without one."""
    voices = [] if contrast is None else [(1.0, Speaker(amateur, prompt))]
    tokens: list[int] = []
    scores = greedy_scores(Speaker(expert, prompt), voices, contrast)
    while len(tokens) < max_tokens and not (tokens and stop(tokens[-1])):
        tokens.append(int(next(scores).argmax()))
    return tokens


def drawn_from(
    scores: torch.Tensor,  # [vocab]
    *,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    min_p: float = 0.0,
) -> torch.Tensor:
    """The distribution that a token is drawn from, [vocab]: the temperature, then min-p, then top-k, then top-p."""
    probabilities = (scores / temperature).softmax(-1)
    probabilities[probabilities < min_p * probabilities.max()] = 0.0
    ranked = probabilities.argsort(descending=True)
    if top_k:
        probabilities[ranked[top_k:]] = 0.0
    probabilities /= probabilities.sum()
    before = probabilities[ranked].cumsum(0) - probabilities[ranked]
    probabilities[ranked[before >= top_p]] = 0.0
    return probabilities / probabilities.sum()
