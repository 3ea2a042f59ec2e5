"""Right answers with one token that a model hardly says there.

The best of many answers is seldom a mistake that the model often makes: it is the rare one that a judge has never seen.
Drawing answers until such ones come takes long; here each is one token away from a right answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from motet_benchmarks.gym.instance import Instance


@dataclass(frozen=True, slots=True)
class Slip:
    """A right answer, and the same with another token at `place`; where that one ends the answer, nothing follows."""

    right: tuple[int, ...]
    place: int
    other: tuple[int, ...]


def slips(
    instances: Sequence[Instance],
    tokenizer: PreTrainedTokenizerFast,
    model: LlamaForCausalLM,
    *,
    each: int,
    seed: int,
    rows: int = 64,
) -> list[list[Slip]]:
    """For each instance `each` slips of its target, at places drawn with repetition.

    A place is drawn by the square root of the probability that `model`, having written what stands before, says
    something else there; what it says instead, by its own probabilities at temperature 1.
    """
    order = sorted(range(len(instances)), key=lambda place: len(str(instances[place].messages())))
    found: list[list[Slip]] = [[] for _ in instances]
    generator = torch.Generator().manual_seed(seed)
    for start in range(0, len(order), rows):
        places = order[start : start + rows]
        prompts = [
            tokenizer.apply_chat_template(
                instances[place].messages(), add_generation_prompt=True, return_dict=True
            )["input_ids"]
            for place in places
        ]
        targets = [tokenizer.encode(instances[place].target, add_special_tokens=False) for place in places]
        texts = [[*prompt, *target] for prompt, target in zip(prompts, targets, strict=True)]
        width = max(map(len, texts))
        # Padding stands on the right, where a causal model's earlier tokens don't see it.
        ids = torch.tensor([[*text, *[0] * (width - len(text))] for text in texts])
        with torch.inference_mode():
            logits = model(input_ids=ids, use_cache=False).logits.float()
        for row, (place, prompt, target) in enumerate(zip(places, prompts, targets, strict=True)):
            before = slice(len(prompt) - 1, len(prompt) + len(target) - 1)
            chances = logits[row, before].softmax(-1)
            found[place] = _slips(target, chances, each, tokenizer.eos_token_id, generator)
    return found


def _slips(
    target: list[int], chances: torch.Tensor, each: int, end: int, generator: torch.Generator
) -> list[Slip]:
    """Of one answer; chances [tokens, vocabulary] are the probabilities of what could be said at each of its tokens."""
    said = torch.tensor(target)
    others = chances.clone()
    others[torch.arange(len(target)), said] = 0
    drawn = torch.multinomial(others.sum(-1).sqrt(), each, replacement=True, generator=generator)
    tokens = torch.multinomial(others[drawn], 1, generator=generator)[:, 0]
    return [
        Slip(
            tuple(target),
            place,
            tuple(target[:place]) if token == end else (*target[:place], token, *target[place + 1 :]),
        )
        for place, token in zip(drawn.tolist(), tokens.tolist(), strict=True)
    ]
