"""A chat template's text, and which characters of it are the assistant's to write."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from motet_alignment.data.items import Message
from motet_alignment.errors import DataError

_GENERATION = re.compile(r"\{%[-+]?\s*generation\s*[-+]?%\}")
Span = tuple[int, int]


class TurnRewritten(DataError):
    """The template writes an earlier turn otherwise than the last one, so that no one text holds both as learnt."""


def template_of(tokenizer: Any) -> str:
    """The tokenizer's chat template; raises `DataError` where it has none, or can't say where its tokens begin."""
    if not tokenizer.is_fast:
        raise DataError(
            f"the tokenizer of {tokenizer.name_or_path} has no tokenizer.json, which is needed to tell whose a token is"
        )
    try:
        template = tokenizer.get_chat_template()
    except ValueError:
        raise DataError(f"{tokenizer.name_or_path} has no chat template") from None
    return str(template)


def token_ids(tokenizer: Any, text: str) -> list[int]:
    """The text's tokens and no others; without a warning about their number, which is the caller's to bound."""
    return list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


def chat_text(
    tokenizer: Any, messages: Sequence[Message], source: str = "", *, generation_prompt: bool = False
) -> str:
    """The conversation as the template writes it."""
    return _render(tokenizer, messages, source, generation_prompt=generation_prompt)[0]


def assistant_spans(
    tokenizer: Any, messages: Sequence[Message], source: str, *, last_only: bool = False
) -> tuple[str, list[Span]]:
    """The conversation's text and, for the assistant's turns with weight, the characters [begin, end) to learn.

    A span holds the turn's text and the token that ends the turn, not what the template writes for the assistant
    before or after it. `last_only` asks for the last assistant turn alone. Raises `DataError` where the template
    fails, leaves a turn's text out or doesn't show where it begins, and `TurnRewritten` where it writes an earlier
    turn otherwise when more turns follow (`render_turns` makes one text for each).
    """
    text, marked = _render(tokenizer, messages, source)
    turns = [place for place, message in enumerate(messages) if message.role == "assistant"]
    wanted = [place for place in (turns[-1:] if last_only else turns) if messages[place].weight]
    if _GENERATION.search(template_of(tokenizer)):
        blocks = _blocks(tokenizer, messages, turns, text, marked, source)
        found = {place: _marked(tokenizer, messages, place, text, blocks[place], source) for place in wanted}
    else:
        found = {place: [_by_prefix(tokenizer, messages, place, text, source)] for place in wanted}
    for place, spans in found.items():
        _check_written(messages[place], place, "".join(text[begin:end] for begin, end in spans), source)
    return text, [span for spans in found.values() for span in spans]


def _blocks(
    tokenizer: Any,
    messages: Sequence[Message],
    turns: Sequence[int],
    text: str,
    marked: Sequence[Span],
    source: str,
) -> dict[int, list[Span]]:
    """The template's `{% generation %}` blocks by the turn that they belong to, at least one for each."""
    if len(marked) == len(turns):
        return {place: [span] for place, span in zip(turns, marked, strict=True)}
    prompts = [chat_text(tokenizer, messages[:place], source, generation_prompt=True) for place in turns]
    owned: dict[int, list[Span]] = {place: [] for place in turns}
    for begin, end in marked:
        before = [place for place, prompt in zip(turns, prompts, strict=True) if len(prompt) < end]
        if before and end > begin:
            owned[before[-1]].append((begin, end))
    if not all(map(text.startswith, prompts)) or not all(owned.values()):
        reason = f"the chat template marks {len(marked)} {{% generation %}} blocks for {len(turns)} assistant turns"
        raise DataError(_at(source, reason))
    return owned


def _marked(
    tokenizer: Any, messages: Sequence[Message], place: int, text: str, blocks: Sequence[Span], source: str
) -> list[Span]:
    """A turn's blocks without the prompt's end and the white space behind, and with the token that ends the turn.

    Templates differ in how much of a turn they mark; what the model has to write does not.
    """
    prompt = chat_text(tokenizer, messages[:place], source, generation_prompt=True)
    begin, end = blocks[-1]
    closed = _end_of_turn(tokenizer, text, begin, end)
    after = next((special for special in _specials(tokenizer) if text.startswith(special, end)), "")
    if closed < end or text[begin:end].endswith(_specials(tokenizer)):
        end = closed
    elif after and after != tokenizer.bos_token:
        before = chat_text(tokenizer, messages[:place], source)
        # A token with which turns begin can't be what ends this one.
        end += 0 if prompt[len(before) :].startswith(after) else len(after)
    spans = [*blocks[:-1], (begin, end)]
    first = len(prompt) if text.startswith(prompt) else 0
    return [(max(begin, first), end) for begin, end in spans if end > first]


def _check_written(message: Message, place: int, written: str, source: str) -> None:
    """Raises `DataError` where the turn's last words are not in what the template wrote for it.

    Some templates expect contents in another form and leave out text that comes as a string.
    """
    # A policy may say nothing, or blanks alone.
    last = message.content.strip().splitlines()[-1:]
    if last and last[0].strip() not in written:
        raise DataError(_at(source, f"the chat template leaves out the text of messages[{place}]"))


def _by_prefix(tokenizer: Any, messages: Sequence[Message], place: int, text: str, source: str) -> Span:
    """Where turn `place` stands in `text`: after its prompt, and up to where the turn is complete."""
    prompt = chat_text(tokenizer, messages[:place], source, generation_prompt=True)
    done = chat_text(tokenizer, messages[: place + 1], source)
    if not done.startswith(prompt):
        raise DataError(
            _at(
                source,
                "the chat template's generation prompt is not how it begins the assistant's turn "
                f"(messages[{place}]); give the template {{% generation %}} blocks",
            )
        )
    if not text.startswith(done):
        raise TurnRewritten(
            _at(
                source,
                f"the chat template writes messages[{place}] differently once more turns follow, so that it can't be "
                "learnt in one text with them; learn the last turn only, or one text for each turn",
            )
        )
    return len(prompt), _end_of_turn(tokenizer, text, len(prompt), len(done))


def _end_of_turn(tokenizer: Any, text: str, begin: int, end: int) -> int:
    """Leaves out the white space behind the token that ends the turn: nobody asks the model for it."""
    trimmed = text[begin:end].rstrip()
    if trimmed.endswith(_specials(tokenizer)):
        return begin + len(trimmed)
    return end


def _specials(tokenizer: Any) -> tuple[str, ...]:
    """The tokenizer's special tokens, longest first."""
    tokens = [str(token) for token in tokenizer.added_tokens_decoder.values() if token.special]
    return tuple(sorted(tokens, key=len, reverse=True))


def _render(
    tokenizer: Any, messages: Sequence[Message], source: str, *, generation_prompt: bool = False
) -> tuple[str, list[Span]]:
    from jinja2 import TemplateError
    from transformers.utils.chat_template_utils import render_jinja_template

    template = template_of(tokenizer)
    chat = [{"role": message.role, "content": message.content} for message in messages]
    try:
        texts, marked = render_jinja_template(
            conversations=[chat],
            chat_template=template,
            add_generation_prompt=generation_prompt,
            return_assistant_tokens_mask=bool(_GENERATION.search(template)),
            **tokenizer.special_tokens_map,
        )
    except (TemplateError, TypeError, ValueError, AttributeError, KeyError) as error:
        raise DataError(_at(source, f"the chat template fails: {error}")) from None
    return texts[0], [(begin, end) for begin, end in marked[0]] if marked else []


def _at(source: str, reason: str) -> str:
    return f"{source}: {reason}" if source else reason
