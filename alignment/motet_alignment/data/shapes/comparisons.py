"""Shapes of preference pairs."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable

from motet_alignment.data.items import Comparison, Message, Role
from motet_alignment.data.shapes.demonstrations import asked_with, no_tools
from motet_alignment.data.shapes.shape import Reading, RowShape, columns
from motet_alignment.data.turns import check_turns, openai_messages
from motet_alignment.data.values import Malformed, Row, mapping, need, optional_number, string, text

_SPEAKER = re.compile(r"(?:^|\n\n)(Human|Assistant):")


def transcript(value: str, name: str) -> tuple[Message, ...]:
    """The turns of a text like "Human: ...", blank line, "Assistant: ..."; an empty last turn is an open one."""
    pieces = _SPEAKER.split(value.strip())
    if len(pieces) < 3 or pieces[0].strip():
        raise Malformed(f"{name} must begin with 'Human:' (turns are parted by a blank line)")
    roles: list[Role] = ["user" if speaker == "Human" else "assistant" for speaker in pieces[1::2]]
    contents = [piece.strip() for piece in pieces[2::2]]
    if not contents[-1] and roles[-1] == "assistant":
        roles, contents = roles[:-1], contents[:-1]
    return tuple(Message(role=role, content=content) for role, content in zip(roles, contents, strict=True))


def comparison(
    row: Row,
    prompt: tuple[Message, ...],
    chosen: tuple[Message, ...],
    rejected: tuple[Message, ...],
    source: str,
) -> Comparison:
    """The pair, checked, with the row's `margin` and `confidence`."""
    if not prompt or prompt[-1].role not in ("user", "tool"):
        raise Malformed("the prompt must end with the user's turn")
    check_turns(prompt, "prompt", last=None)
    for answer, name in ((chosen, "chosen"), (rejected, "rejected")):
        check_answer(prompt, answer, name)
    if [(turn.role, turn.content.strip()) for turn in chosen] == [
        (turn.role, turn.content.strip()) for turn in rejected
    ]:
        raise Malformed("the two answers are equal")
    return Comparison(
        prompt=prompt,
        chosen=chosen,
        rejected=rejected,
        margin=optional_number(row, "margin", 0.0, math.inf),
        confidence=optional_number(row, "confidence", 0.5, 1.0),
        source=source,
    )


def check_answer(prompt: tuple[Message, ...], answer: tuple[Message, ...], name: str) -> None:
    """Raises `Malformed` unless `answer` may follow `prompt` and ends with the assistant's turn."""
    if not answer or not answer[-1].content.strip():
        raise Malformed(f"{name} is empty")
    if answer[0].role != "assistant":
        raise Malformed(f"{name} must begin with the assistant's turn or with the whole prompt")
    check_turns(prompt + answer, f"prompt + {name}")


def answer_to(
    prompt: tuple[Message, ...], value: object, name: str, unused: Counter[str]
) -> tuple[Message, ...]:
    """The turns of an answer: text, messages, or messages that begin with the prompt's."""
    if not isinstance(value, list):
        content = string(value, name)
        if not content.strip():
            raise Malformed(f"{name} is empty")
        return (Message(role="assistant", content=content),)
    messages = openai_messages(value, name, unused)
    if messages[0].role == "assistant":
        return messages
    length = len(prompt)
    if [(turn.role, turn.content) for turn in messages[:length]] != [
        (turn.role, turn.content) for turn in prompt
    ]:
        raise Malformed(f"{name} does not begin with the prompt")
    return messages[length:]


def _pair(row: Row, reading: Reading) -> Iterable[Comparison]:
    asked = row["prompt"]
    if isinstance(asked, str) and _SPEAKER.match(asked.strip()) and asked.rstrip().endswith("\n\nAssistant:"):
        prompt = transcript(asked, "prompt")
        row = {**row, "chosen": text(row, "chosen").strip(), "rejected": text(row, "rejected").strip()}
    else:
        prompt = asked_with(row, reading)
    chosen = answer_to(prompt, row["chosen"], "chosen", reading.unused)
    rejected = answer_to(prompt, row["rejected"], "rejected", reading.unused)
    yield comparison(row, prompt, chosen, rejected, reading.source)


def _transcripts(row: Row, reading: Reading) -> Iterable[Comparison]:
    chosen, rejected = (
        openai_messages(row[key], key, reading.unused)
        if isinstance(row[key], list)
        else transcript(string(row[key], key), key)
        for key in ("chosen", "rejected")
    )
    shared = 0
    while shared < min(len(chosen), len(rejected)) and chosen[shared] == rejected[shared]:
        shared += 1
    if shared == len(chosen) == len(rejected):
        raise Malformed("the two answers are equal")
    if shared == 0:
        raise Malformed("chosen and rejected do not begin with the same prompt")
    if shared in (len(chosen), len(rejected)):
        raise Malformed("one of chosen and rejected is the beginning of the other")
    if chosen[shared].role != "assistant" or rejected[shared].role != "assistant":
        raise Malformed(
            f"chosen and rejected part at turn {shared + 1}, which is not the assistant's in both"
        )
    yield comparison(row, chosen[:shared], chosen[shared:], rejected[shared:], reading.source)


def _openai(row: Row, reading: Reading) -> Iterable[Comparison]:
    asked = mapping(row["input"], "input")
    no_tools(asked, "input.")
    prompt = openai_messages(need(asked, "messages", "input"), "input.messages", reading.unused)
    reading.unused.update(f"input.{key}" for key in asked if key != "messages")
    chosen = openai_messages(row["preferred_output"], "preferred_output", reading.unused)
    rejected = openai_messages(row["non_preferred_output"], "non_preferred_output", reading.unused)
    yield comparison(row, prompt, chosen, rejected, reading.source)


_SURE = frozenset({"margin", "confidence"})
SHAPES = (
    RowShape("pairs", "comparison", columns("prompt chosen rejected"), _pair, _SURE | {"system"}),
    RowShape("transcripts", "comparison", columns("chosen rejected"), _transcripts, _SURE),
    RowShape(
        "openai-dpo",
        "comparison",
        columns("input preferred_output non_preferred_output"),
        _openai,
        _SURE,
    ),
)
