"""From conversations to token ids, with the assistant's tokens marked and the whole cut to the context."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from motet_alignment.data.items import Comparison, Message
from motet_alignment.data.template import TurnRewritten, assistant_spans, chat_text, token_ids
from motet_alignment.errors import DataError

Learn = Literal["every", "last"]


@dataclass(frozen=True, slots=True)
class Rendered:
    """One conversation as the model sees it."""

    input_ids: list[int]
    #: 1 where the token carries loss: the assistant's turns with the token that ends each.
    assistant: list[int]
    #: Messages left out between the system prompt and the first one kept.
    dropped: int = 0
    #: Tokens cut off the end of the last answer.
    cut: int = 0


def render(
    tokenizer: Any,
    messages: Sequence[Message],
    *,
    context: int,
    generation_prompt: bool = False,
    learn: Learn = "every",
    source: str = "",
) -> Rendered:
    """Token ids of a conversation of at most `context` tokens, and which carry loss.

    A conversation that is too long loses its oldest exchanges whole (a user's turn and all up to the next one); the
    system prompt and the latest turns stay. A last exchange that is still too long is cut at the end of its answer,
    which then has no end-of-turn token. With `generation_prompt` the text ends where the assistant would begin and
    nothing carries loss. `learn="last"` marks the last turn alone. Raises `DataError`, naming `source`, where the
    template fails, where it can't be told which tokens are the assistant's, or where the last prompt alone fills the
    context.
    """
    starts = _starts(messages)
    lengths = _Lengths(tokenizer, messages, generation_prompt, source)
    kept = _kept(messages, _first_fitting(starts, lambda start: lengths(start) <= context))
    if generation_prompt:
        ids = token_ids(tokenizer, chat_text(tokenizer, kept, source, generation_prompt=True))
        full = Rendered(ids, [0] * len(ids), dropped=len(messages) - len(kept))
    else:
        full = _marked(tokenizer, kept, learn, source, dropped=len(messages) - len(kept))
    return _cut(full, context, source, may_cut=not generation_prompt)


def render_turns(
    tokenizer: Any, messages: Sequence[Message], *, context: int, source: str = ""
) -> list[Rendered]:
    """The conversation with every assistant turn learnt: one text where the template allows it, else one for each turn.

    Some templates write an earlier turn otherwise than the last one (they drop its thinking, for example). Each turn is
    then learnt in the text in which the model would have written it, the turns before it as context only.
    """
    try:
        return [render(tokenizer, messages, context=context, source=source)]
    except TurnRewritten:
        turns = [
            place + 1
            for place, message in enumerate(messages)
            if message.role == "assistant" and message.weight
        ]
        return [
            render(tokenizer, messages[:end], context=context, learn="last", source=source) for end in turns
        ]


def render_prompt(tokenizer: Any, messages: Sequence[Message], *, context: int, source: str = "") -> Rendered:
    """A whole prompt, up to where the answer begins; nothing is left out and nothing carries loss.

    Raises `DataError`, naming `source`, where the template fails or `context` leaves no room for an answer.
    """
    ids = token_ids(tokenizer, chat_text(tokenizer, messages, source, generation_prompt=True))
    if len(ids) >= context:
        reason = f"the prompt has {len(ids)} tokens; a context of {context} leaves no room for an answer"
        raise DataError(_at(source, reason))
    return Rendered(ids, [0] * len(ids))


def render_comparison(tokenizer: Any, pair: Comparison, *, context: int) -> tuple[Rendered, Rendered]:
    """Chosen and rejected after the same prompt: what is left out of the prompt for one is left out for both.

    Only the answers carry loss. Raises `DataError` as `render` does, and where cutting leaves the answers equal.
    """
    whole = [(*pair.prompt, *answer) for answer in (pair.chosen, pair.rejected)]
    starts = [start for start in _starts(pair.prompt) if start < len(pair.prompt)]
    lengths = [_Lengths(tokenizer, messages, False, pair.source) for messages in whole]
    start = _first_fitting(starts, lambda start: all(length(start) <= context for length in lengths))
    chosen, rejected = (
        _cut(
            _marked(
                tokenizer, _kept(messages, start), "last", pair.source, dropped=_dropped(messages, start)
            ),
            context,
            pair.source,
        )
        for messages in whole
    )
    if chosen.input_ids == rejected.input_ids:
        raise DataError(f"{pair.source}: the two answers are equal once cut to {context} tokens")
    return chosen, rejected


class _Lengths:
    """How many tokens the conversation has without its turns before a place."""

    def __init__(
        self, tokenizer: Any, messages: Sequence[Message], generation_prompt: bool, source: str
    ) -> None:
        self._tokenizer, self._messages, self._source = tokenizer, messages, source
        self._generation_prompt = generation_prompt

    def __call__(self, start: int) -> int:
        text = chat_text(
            self._tokenizer,
            _kept(self._messages, start),
            self._source,
            generation_prompt=self._generation_prompt,
        )
        return len(token_ids(self._tokenizer, text))


def _starts(messages: Sequence[Message]) -> list[int]:
    """Where the conversation may begin: at any of the user's turns."""
    starts = [place for place, message in enumerate(messages) if message.role == "user"]
    return starts or [0]


def _first_fitting(starts: Sequence[int], fits: Callable[[int], bool]) -> int:
    """The earliest start that fits, found by halving; the last one where none does."""
    if len(starts) == 1 or fits(starts[0]):
        return starts[0]
    low, high = 0, len(starts) - 1
    while low < high:
        middle = (low + high) // 2
        if fits(starts[middle]):
            high = middle
        else:
            low = middle + 1
    return starts[low]


def _kept(messages: Sequence[Message], start: int) -> tuple[Message, ...]:
    system = messages[:1] if messages and messages[0].role == "system" else ()
    return (*system, *messages[start:])


def _dropped(messages: Sequence[Message], start: int) -> int:
    return len(messages) - len(_kept(messages, start))


def _encode(tokenizer: Any, text: str) -> tuple[list[int], list[tuple[int, int]]]:
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    return list(encoded["input_ids"]), list(encoded["offset_mapping"])


def _marked(
    tokenizer: Any, messages: Sequence[Message], learn: Learn, source: str, *, dropped: int
) -> Rendered:
    text, spans = assistant_spans(tokenizer, messages, source, last_only=learn == "last")
    ids, offsets = _encode(tokenizer, text)
    assistant = [0] * len(ids)
    for begin, end in spans:
        prompt = token_ids(tokenizer, text[:begin])
        first = len(prompt)
        if prompt != ids[:first]:
            reason = (
                "the tokenizer merges the end of the prompt with the beginning of the answer (at "
                f"{text[max(0, begin - 10) : begin + 10]!r}), so that no token is the answer's first; remove white "
                "space there"
            )
            raise DataError(_at(source, reason))
        for place in range(first, len(ids)):
            if offsets[place][0] >= end:
                break
            assistant[place] = 1
    return Rendered(ids, assistant, dropped=dropped)


def _cut(full: Rendered, context: int, source: str, *, may_cut: bool = True) -> Rendered:
    length = len(full.input_ids)
    if length <= context:
        return full
    if not may_cut:
        raise DataError(_at(source, f"the last prompt alone needs {length} tokens of a context of {context}"))
    assistant = full.assistant[:context]
    if 1 not in assistant:
        raise DataError(
            _at(source, f"no room for an answer: the prompt fills the context of {context} tokens")
        )
    return Rendered(full.input_ids[:context], assistant, dropped=full.dropped, cut=length - context)


def _at(source: str, reason: str) -> str:
    return f"{source}: {reason}" if source else reason
