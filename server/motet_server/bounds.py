"""How much one request may ask for, where vLLM has no bound or one that only the engine would notice."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any, Final

from motet_decoding.errors import RequestError

#: The most entries of a field. vLLM's V2 model runner has room for 1024 biases, 1024 allowed tokens and 128 tokens that
#: end an answer, the model's own among them; a request with more would end the engine.
MOST_ENTRIES: Final[Mapping[str, int]] = {
    "logit_bias": 1024,
    "allowed_token_ids": 1024,
    "stop_token_ids": 64,
}

#: The most bytes of all bad words together.
MOST_BAD_WORD_BYTES: Final = 1024
#: The room that the same runner needs for them: each word with and without a space before it, a token for each byte and
#: two for what a tokenizer puts before it.
BAD_WORD_TOKENS: Final = 2 * 3 * MOST_BAD_WORD_BYTES


def check_amounts(request: Any, max_choices: int) -> None:
    """Refuses a request that asks for more than the server gives to one.

    Args:
        request: vLLM's, read from the body.
        max_choices: the most choices, over all prompts.

    Raises:
        RequestError: naming the field.
    """
    n = request.n or 1
    prompts = _prompts(request)
    if n * prompts > max_choices:
        over = f" for each of {prompts} prompts" if prompts > 1 else ""
        raise RequestError(
            "n" if n > 1 else "prompt",
            f"asks for {n} choices{over}; this server gives {max_choices} to a request (--max-choices)",
        )
    for field, most in MOST_ENTRIES.items():
        if (entries := len(getattr(request, field, None) or ())) > most:
            raise RequestError(field, f"must have at most {most} entries, got {entries}")
    words = getattr(request, "bad_words", None) or ()
    size = sum(len(unicodedata.normalize("NFKC", word).encode()) for word in words)
    if size > MOST_BAD_WORD_BYTES:
        raise RequestError("bad_words", f"must have at most {MOST_BAD_WORD_BYTES} bytes together, got {size}")
    seed = getattr(request, "seed", None)
    if seed is not None and seed + n > 2**63:
        # Each choice has the seed after its neighbour's.
        raise RequestError("seed", f"must be at most {2**63 - n} for {n} choices")


def _prompts(request: Any) -> int:
    """How many prompts a request has: texts, lists of tokens or embeddings."""
    count = 0
    for field in ("prompt", "prompt_embeds"):
        value = getattr(request, field, None)
        if isinstance(value, list) and value and not isinstance(value[0], int):
            count += len(value)
        elif value:
            count += 1
    return max(count, 1)
