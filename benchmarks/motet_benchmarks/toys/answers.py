"""Greedy answers of the bundled models, in batches, with plain transformers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from motet_benchmarks import gym
from motet_decoding.contrast import Contrast
from motet_decoding.reference import AmateurVoice

# Worked sorting, the longest answer of the gym, stays below this many tokens.
LONGEST_ANSWER = 128


def answers(
    instances: Sequence[gym.Instance],
    tokenizer: PreTrainedTokenizerFast,
    model: LlamaForCausalLM,
    *,
    amateur: LlamaForCausalLM | None = None,
    contrast: Contrast | None = None,
    rows: int = 128,
) -> list[str]:
    """What `model` answers to each instance, taking the best token at every place.

    With `amateur` and `contrast` the best token is that of the contrast between the two. Prompts of similar length
    share a batch of `rows`, padded on the left; those that ask for steps, which take far longer, stay among themselves.
    """
    order = sorted(
        range(len(instances)),
        key=lambda place: (instances[place].worked, len(str(instances[place].messages()))),
    )
    found = [""] * len(instances)
    for start in range(0, len(order), rows):
        places = order[start : start + rows]
        inputs = tokenizer.apply_chat_template(
            [instances[place].messages() for place in places],
            add_generation_prompt=True,
            padding=True,
            return_tensors="pt",
            return_dict=True,
        )
        processors: list[Any] = []
        if amateur is not None and contrast is not None:
            processors.append(AmateurVoice(amateur, contrast, inputs["attention_mask"]))
        with torch.inference_mode():
            tokens = model.generate(
                **inputs, do_sample=False, max_new_tokens=LONGEST_ANSWER, logits_processor=processors
            )
        length = inputs["input_ids"].shape[1]
        texts = tokenizer.batch_decode(tokens[:, length:], skip_special_tokens=True)
        for place, text in zip(places, texts, strict=True):
            found[place] = text
    return found
