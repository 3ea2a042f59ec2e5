"""Shapes of what is to be answered."""

from __future__ import annotations

from collections.abc import Iterable

from motet_alignment.data.items import Message, Prompt
from motet_alignment.data.shapes.demonstrations import asked_with, no_tools
from motet_alignment.data.shapes.shape import Reading, RowShape, columns
from motet_alignment.data.turns import check_turns, openai_messages
from motet_alignment.data.values import Malformed, Row, optional_text, text


def _prompt(row: Row, reading: Reading) -> Iterable[Prompt]:
    given = [key for key in ("messages", "prompt", "question", "instruction") if key in row]
    if len(given) > 1:
        raise Malformed(f"has both {given[0]} and {given[1]}")
    no_tools(row)
    match given:
        case ["messages"]:
            messages = openai_messages(row["messages"], "messages", reading.unused)
        case ["prompt"]:
            messages = asked_with(row, reading)
        case [key]:
            asked = reading.phrase(text(row, key), optional_text(row, "input"))
            system = optional_text(row, "system")
            first = (Message(role="system", content=system),) if system else ()
            messages = (*first, Message(role="user", content=asked))
    if messages[-1].role not in ("user", "tool"):
        raise Malformed(f"{given[0]}: the last turn must be the user's, not the {messages[-1].role}'s")
    check_turns(messages, given[0], last=None)
    yield Prompt(prompt=messages, source=reading.source)


SHAPES = (
    RowShape(
        "prompts",
        "prompt",
        columns("messages", "prompt", "question", "instruction"),
        _prompt,
        frozenset({"system", "input"}),
    ),
)
