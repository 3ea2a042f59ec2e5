"""Shapes of conversations to imitate."""

from __future__ import annotations

from collections.abc import Iterable

from motet_alignment.data.items import Demonstration, Message
from motet_alignment.data.shapes.shape import Reading, RowShape, columns
from motet_alignment.data.turns import check_turns, exchange, openai_messages, sharegpt_messages
from motet_alignment.data.values import Malformed, Row, listed, mapping, need, optional_text, text


def answered(row: Row, reading: Reading) -> tuple[Message, ...]:
    """The conversation of a row with `prompt` and `completion`, each text or a list of messages.

    White space around texts is dropped: it belonged to the concatenation that a chat template takes the place of.
    """
    prompt, completion = need(row, "prompt"), need(row, "completion")
    if not isinstance(prompt, list) and not isinstance(completion, list):
        asked = reading.phrase(text(row, "prompt").strip(), "")
        return exchange(asked, text(row, "completion").strip(), optional_text(row, "system"))
    return asked_with(row, reading) + _answer(row, "completion", reading)


def asked_with(row: Row, reading: Reading) -> tuple[Message, ...]:
    """The turns of `prompt`, text or a list of messages, after `system` where the row has one."""
    system = optional_text(row, "system")
    first = (Message(role="system", content=system),) if system else ()
    if isinstance(need(row, "prompt"), list):
        return first + openai_messages(row["prompt"], "prompt", reading.unused)
    return (*first, Message(role="user", content=text(row, "prompt").strip()))


def _answer(row: Row, key: str, reading: Reading) -> tuple[Message, ...]:
    if isinstance(row[key], list):
        return openai_messages(row[key], key, reading.unused)
    return (Message(role="assistant", content=text(row, key).strip()),)


def no_tools(row: Row, where: str = "") -> None:
    """Raises `Malformed` where the row comes with tools, which would have to be in the prompt."""
    for key in ("tools", "functions"):
        if row.get(key):
            raise Malformed(f"{where}{key} can't be trained with: messages hold text")


def _chat(row: Row, reading: Reading) -> Iterable[Demonstration]:
    no_tools(row)
    messages = openai_messages(row["messages"], "messages", reading.unused)
    check_turns(messages, "messages")
    yield Demonstration(messages=messages, source=reading.source)


def _prompt_completion(row: Row, reading: Reading) -> Iterable[Demonstration]:
    messages = answered(row, reading)
    check_turns(messages, "prompt + completion")
    yield Demonstration(messages=messages, source=reading.source)


def _question_answer(row: Row, reading: Reading) -> Iterable[Demonstration]:
    asked = reading.phrase(text(row, "question"), "")
    yield Demonstration(
        messages=exchange(asked, text(row, "answer"), optional_text(row, "system")), source=reading.source
    )


def _alpaca(row: Row, reading: Reading) -> Iterable[Demonstration]:
    asked = reading.phrase(text(row, "instruction"), optional_text(row, "input"))
    messages = exchange(asked, text(row, "output"), optional_text(row, "system"))
    yield Demonstration(messages=messages, source=reading.source)


def _seeds(row: Row, reading: Reading) -> Iterable[Demonstration]:
    instruction = text(row, "instruction")
    for place, value in enumerate(listed(row, "instances")):
        where = f"instances[{place}]"
        instance = mapping(value, where)
        asked = reading.phrase(instruction, optional_text(instance, "input", where))
        messages = exchange(asked, text(instance, "output", where))
        reading.unused.update(f"instances[].{key}" for key in instance if key not in ("input", "output"))
        yield Demonstration(messages=messages, source=reading.source)


def _sharegpt(row: Row, reading: Reading) -> Iterable[Demonstration]:
    no_tools(row)
    system = optional_text(row, "system")
    first = (Message(role="system", content=system),) if system else ()
    messages = first + sharegpt_messages(row["conversations"], "conversations", reading.unused)
    check_turns(messages, "conversations")
    yield Demonstration(messages=messages, source=reading.source)


_SYSTEM = frozenset({"system"})
SHAPES = (
    RowShape("chat", "demonstration", columns("messages"), _chat),
    RowShape("prompt-completion", "demonstration", columns("prompt completion"), _prompt_completion, _SYSTEM),
    RowShape("question-answer", "demonstration", columns("question answer"), _question_answer, _SYSTEM),
    RowShape(
        "alpaca", "demonstration", columns("instruction output"), _alpaca, frozenset({"input", "system"})
    ),
    RowShape("seed-tasks", "demonstration", columns("instruction instances"), _seeds),
    RowShape("sharegpt", "demonstration", columns("conversations"), _sharegpt, _SYSTEM),
)
