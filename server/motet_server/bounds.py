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


#: The fields of a request that are looked at here, beside its prompts.
FIELDS: Final = frozenset({"n", "seed", "bad_words", *MOST_ENTRIES})


def check_amounts(fields: Mapping[str, Any], max_choices: int, *, sequences: int = 1) -> None:
    """Refuses a request that asks for more than the server gives to one.

    Args:
        fields: vLLM's, by name, read from a body or as they stand in it; what has the wrong type is vLLM's to refuse.
        max_choices: the most choices, over all prompts.
        sequences: how many of the engine's give one choice.

    Raises:
        RequestError: naming the field.
    """
    n = _whole(fields.get("n"), 1)
    prompts = count_prompts(fields)
    if n * prompts * sequences > max_choices:
        over = f" for each of {prompts} prompts" if prompts > 1 else ""
        each = f", of {sequences} sequences each" if sequences > 1 else ""
        raise RequestError(
            "n" if n > 1 else "prompt" if prompts > 1 else "contrast.against",
            f"asks for {n} choices{over}{each}; this server gives {max_choices} to a request (--max-choices)",
        )
    for field, most in MOST_ENTRIES.items():
        value = fields.get(field)
        if isinstance(value, list | dict) and len(value) > most:
            raise RequestError(field, f"must have at most {most} entries, got {len(value)}")
    words = fields.get("bad_words")
    size = sum(map(_bytes, words)) if isinstance(words, list) else 0
    if size > MOST_BAD_WORD_BYTES:
        raise RequestError("bad_words", f"must have at most {MOST_BAD_WORD_BYTES} bytes together, got {size}")
    if _whole(fields.get("seed"), 0) + n > 2**63:
        # Each choice has the seed after its neighbour's.
        raise RequestError("seed", f"must be at most {2**63 - n} for {n} choices")


def count_prompts(fields: Mapping[str, Any]) -> int:
    """How many prompts a request has: texts, lists of tokens, embeddings or conversations."""
    count = 0
    for field in ("prompt", "prompt_embeds", "messages"):
        value = fields.get(field)
        if isinstance(value, list) and value and isinstance(value[0], str | bytes | list):
            count += len(value)
        elif value:
            count += 1
    return max(count, 1)


def _bytes(word: Any) -> int:
    """What a tokenizer may see of ``word``."""
    if not isinstance(word, str):
        return 0
    return len(unicodedata.normalize("NFKC", word).encode(errors="surrogatepass"))


def _whole(value: Any, absent: int) -> int:
    """A number as pydantic would read it, who takes text for one too."""
    try:
        return absent if value is None else int(value)
    except (TypeError, ValueError, OverflowError):
        return absent
