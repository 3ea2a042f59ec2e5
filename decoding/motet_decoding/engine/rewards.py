"""Scores of a reward adapter from the engine that generates: one request a conversation, and its score read back.

A reward adapter is a LoRA and a head, one vector of the hidden width w: the reward of a conversation is w·h with h the
last token's hidden state. The LoRA is loaded like any other. The head's product is made where the engine makes logits
(``scoring.py``), and travels back as the one thing every vLLM request can carry: log-probabilities. A scored request's
logits are minus infinity but for the first few: 0, then the reward r in parts, so that whatever normalises them,

    Σᵢ (log p(token i) − log p(token 0)) = r,    i = 1, 2, 3

Three parts, because logits may be bfloat16, which holds a third of a float32's digits.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motet_decoding.engine.arguments import reward_arguments

if TYPE_CHECKING:
    from vllm import SamplingParams

#: How many parts a reward travels in; they are the logits of tokens 1, 2, ..., and token 0 has the logit 0.
PARTS = 3


def reward_sampling(head: Path) -> SamplingParams:
    """The sampling parameters of an engine request that is to be scored.

    The request's prompt is the whole conversation, ending where the training's did, and must leave one token of the
    context free; its ``lora_request`` is the reward adapter without its head.

    Args:
        head: a safetensors file that holds ``score.weight``, [1, hidden]. Read once per worker and path.
    """
    return number_sampling(reward_arguments(head))


def number_sampling(extra_args: dict[str, str]) -> SamplingParams:
    """The sampling parameters of an engine request that is told a number instead of a token."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    return SamplingParams(
        temperature=0.0,
        max_tokens=1,
        logprobs=1 + PARTS,
        detokenize=False,
        output_kind=RequestOutputKind.FINAL_ONLY,
        extra_args=extra_args,
    )


def read_reward(output: Any) -> float:
    """The raw reward in the engine's answer (a ``RequestOutput``) to a request with ``reward_sampling``.

    Raises:
        ValueError: where the engine could not score it: its head is missing or damaged, or the reward isn't finite.
    """
    reward = read_number(output)
    if reward is None:
        raise ValueError("the engine could not score this conversation; its log says why")
    return reward


def read_number(output: Any) -> float | None:
    """The number in the engine's answer to a request with ``number_sampling``; None where it has none."""
    told = output.outputs[0].logprobs
    logprobs = {token: entry.logprob for token, entry in told[0].items()} if told else {}
    if any(token not in logprobs for token in range(1 + PARTS)):
        return None
    number = sum(logprobs[token] - logprobs[0] for token in range(1, 1 + PARTS))
    return float(number) if math.isfinite(number) else None
