"""The text of an answer that is drawn in parts: as vLLM's own detokenizer would tell it of one drawn in one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

#: What a tokenizer writes for bytes that are no character yet.
_UNFINISHED = "\N{REPLACEMENT CHARACTER}"

#: Of a character, in UTF-8.
_BYTES = 4

#: Tokens of the prompt that an answer is read behind.
_CONTEXT = 16


def answer_text(decode: Callable[[Sequence[int]], str], prompt_ids: Sequence[int], ids: Sequence[int]) -> str:
    """The text of ``ids``, which follow a prompt: by themselves they would lose a space that begins them.

    Args:
        decode: tokens to text.
        prompt_ids: the prompt's tokens.
        ids: the answer's, without one that ended it; a character that its last ones only begin is left out.
    """
    before = prompt_ids[-_CONTEXT:]
    begun, text = _whole_characters(decode, before), _whole_characters(decode, [*before, *ids])
    return text[len(begun) :] if text.startswith(begun) else _whole_characters(decode, ids)


def _whole_characters(decode: Callable[[Sequence[int]], str], ids: Sequence[int]) -> str:
    for end in range(len(ids), max(0, len(ids) - _BYTES), -1):
        # Not cut from the text: where bytes stand for themselves, one too few spoils those before it too.
        text = decode(ids[:end])
        if not text.endswith(_UNFINISHED):
            return text
    return decode(ids).rstrip(_UNFINISHED)
