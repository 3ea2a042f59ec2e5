"""Answers of the bundled models, greedy or drawn, in batches, with plain transformers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from transformers import BatchEncoding, LlamaForCausalLM, PreTrainedTokenizerFast

from motet_benchmarks import gym
from motet_decoding.contrast import Contrast
from motet_decoding.reference import AmateurVoice

# Worked sorting, the longest answer of the gym, stays below this many tokens.
LONGEST_ANSWER = 128


def batches(
    instances: Sequence[gym.Instance], tokenizer: PreTrainedTokenizerFast, rows: int
) -> Iterator[tuple[list[int], BatchEncoding]]:
    """The instances' places and prompts, `rows` of similar length at a time, padded on the left.

    Those that ask for steps, which take far longer, stay among themselves.
    """
    order = sorted(
        range(len(instances)),
        key=lambda place: (instances[place].worked, len(str(instances[place].messages()))),
    )
    for start in range(0, len(order), rows):
        places = order[start : start + rows]
        yield (
            places,
            tokenizer.apply_chat_template(
                [instances[place].messages() for place in places],
                add_generation_prompt=True,
                padding=True,
                return_tensors="pt",
                return_dict=True,
            ),
        )


def answers(
    instances: Sequence[gym.Instance],
    tokenizer: PreTrainedTokenizerFast,
    model: LlamaForCausalLM,
    *,
    amateur: LlamaForCausalLM | None = None,
    contrast: Contrast | None = None,
    rows: int = 128,
    seed: int | None = None,
) -> list[str]:
    """What `model` answers to each instance: the best token at every place, or with a seed one drawn at temperature 1.

    With `amateur` and `contrast` the best token is that of the contrast between the two.
    """
    found = [""] * len(instances)
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        for places, inputs in batches(instances, tokenizer, rows):
            processors: list[Any] = []
            if amateur is not None and contrast is not None:
                processors.append(AmateurVoice(amateur, contrast, inputs["attention_mask"]))
            with torch.inference_mode():
                tokens = model.generate(
                    **inputs,
                    do_sample=seed is not None,
                    # Drawn from the whole distribution: transformers' own choice are the fifty likeliest tokens.
                    **({} if seed is None else {"temperature": 1.0, "top_k": 0, "top_p": 1.0}),
                    max_new_tokens=LONGEST_ANSWER,
                    logits_processor=processors,
                )
            length = inputs["input_ids"].shape[1]
            texts = tokenizer.batch_decode(tokens[:, length:], skip_special_tokens=True)
            for place, text in zip(places, texts, strict=True):
                found[place] = text
    return found
