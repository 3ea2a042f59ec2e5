"""Many answers to each problem, drawn at temperature 1 with plain transformers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from motet_benchmarks.gym.instance import Instance
from motet_benchmarks.toys.answers import LONGEST_ANSWER, batches


def drawn(
    instances: Sequence[Instance],
    tokenizer: PreTrainedTokenizerFast,
    model: LlamaForCausalLM,
    *,
    each: int,
    seed: int,
    rows: int = 64,
) -> list[list[str]]:
    """What `model` answers to each instance, `each` times, drawn at temperature 1 from the whole distribution.

    transformers' own `generate` reads a prompt again for each of its answers and goes on with those that have ended,
    which here takes five times as long.
    """
    found: list[list[str]] = [[] for _ in instances]
    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        torch.manual_seed(seed)
        for places, inputs in batches(instances, tokenizer, rows):
            said = _drawn(model, inputs["input_ids"], inputs["attention_mask"], each, tokenizer.eos_token_id)
            texts = tokenizer.batch_decode(said, skip_special_tokens=True)
            for place, problem in enumerate(places):
                found[problem] = texts[place * each : (place + 1) * each]
    return found


def _drawn(
    model: LlamaForCausalLM, ids: torch.Tensor, mask: torch.Tensor, each: int, end: int
) -> list[list[int]]:
    """The tokens of each prompt's answers, the prompts one after another; ids and mask [prompts, tokens]."""
    read = model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=(mask.cumsum(-1) - 1).clamp(min=0),
        use_cache=True,
        logits_to_keep=1,
    )
    cache, logits = read.past_key_values, read.logits[:, -1].repeat_interleave(each, 0)
    cache.batch_repeat_interleave(each)
    mask = mask.repeat_interleave(each, 0)
    said: list[list[int]] = [[] for _ in range(len(mask))]
    going = torch.arange(len(mask))
    for _ in range(LONGEST_ANSWER):
        new = torch.multinomial(logits.float().softmax(-1), 1)
        for row, token in zip(going.tolist(), new[:, 0].tolist(), strict=True):
            said[row].append(token)
        on = (new[:, 0] != end).nonzero()[:, 0]
        if not len(on):
            break
        if len(on) < len(going):
            cache.batch_select_indices(on)
        going, mask, new = going[on], torch.cat([mask[on], mask.new_ones(len(on), 1)], dim=1), new[on]
        read = model(
            input_ids=new,
            attention_mask=mask,
            position_ids=mask.sum(-1, keepdim=True) - 1,
            past_key_values=cache,
            use_cache=True,
        )
        logits = read.logits[:, -1]
    return said
