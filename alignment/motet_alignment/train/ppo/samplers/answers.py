"""What every sampler shares: where answers end, how long they may be, and how they are told."""

from __future__ import annotations

from collections.abc import Sequence

from motet_alignment.train.models import Base
from motet_alignment.train.ppo.rollout import Prompt, Rollout


def end_tokens(base: Base) -> tuple[int, ...]:
    """The tokens that end an answer: the tokenizer's and the model's generation settings', in order."""
    from transformers import AutoConfig, GenerationConfig

    try:
        generation = GenerationConfig.from_pretrained(base.folder)
    except OSError:
        generation = GenerationConfig.from_model_config(AutoConfig.from_pretrained(base.folder))
    endings = generation.eos_token_id
    found = {*(endings if isinstance(endings, list) else [endings]), base.tokenizer.eos_token_id}
    return tuple(sorted(token for token in found if token is not None))


def room(prompt: Prompt, base: Base, most: int) -> int:
    """How many tokens an answer may have: `most`, or what the prompt leaves of the context."""
    return min(most, base.context - len(prompt.ids))


def until_end(ids: Sequence[int], ends: Sequence[int]) -> list[int]:
    """The answer up to its end token, without the padding behind."""
    places = (place for place, token in enumerate(ids) if token in ends)
    return list(ids[: next(places, len(ids)) + 1])


def rollout(
    prompt: Prompt,
    ids: Sequence[int],
    base: Base,
    ends: Sequence[int],
    logprobs: Sequence[float] | None = None,
) -> Rollout:
    """An answer, whose last token tells whether it ended by itself."""
    return Rollout(
        prompt=prompt,
        ids=tuple(ids),
        text=str(base.tokenizer.decode(list(ids), skip_special_tokens=True)),
        ended=bool(ids) and ids[-1] in ends,
        logprobs=None if logprobs is None else tuple(logprobs),
    )
