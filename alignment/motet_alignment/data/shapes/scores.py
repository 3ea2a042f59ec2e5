"""Shapes of rated conversations and ranked answers."""

from __future__ import annotations

from collections.abc import Iterable

from motet_alignment.data.items import Message, Ranking, Rating
from motet_alignment.data.shapes.comparisons import answer_to, check_answer
from motet_alignment.data.shapes.demonstrations import answered, asked_with, no_tools
from motet_alignment.data.shapes.shape import Reading, RowShape, columns
from motet_alignment.data.turns import check_turns, openai_messages
from motet_alignment.data.values import Malformed, Row, listed, number


def _rating(row: Row, reading: Reading) -> Iterable[Rating]:
    no_tools(row)
    if "score" in row and "label" in row:
        raise Malformed("has both score and label")
    if "messages" in row and "completion" in row:
        raise Malformed("has both messages and completion")
    if "messages" in row:
        messages, where = openai_messages(row["messages"], "messages", reading.unused), "messages"
    else:
        messages, where = answered(row, reading), "prompt + completion"
    check_turns(messages, where)
    key = "score" if "score" in row else "label"
    yield Rating(messages=messages, score=number(row[key], key), source=reading.source)


def _ranking(row: Row, reading: Reading) -> Iterable[Ranking]:
    if "answers" in row and "completions" in row:
        raise Malformed("has both answers and completions")
    key = "answers" if "answers" in row else "completions"
    prompt = asked_with(row, reading)
    if prompt[-1].role not in ("user", "tool"):
        raise Malformed("the prompt must end with the user's turn")
    answers = []
    for place, value in enumerate(listed(row, key)):
        name = f"{key}[{place}]"
        answer = answer_to(prompt, value, name, reading.unused)
        check_answer(prompt, answer, name)
        answers.append(answer)
    if len(answers) < 2:
        raise Malformed(f"{key} must hold at least two answers")
    _all_different(answers, key)
    ordered = tuple(answers[place] for place in _order(row, key, len(answers)))
    yield Ranking(prompt=prompt, answers=ordered, source=reading.source)


def _all_different(answers: list[tuple[Message, ...]], key: str) -> None:
    seen: dict[tuple[str, ...], int] = {}
    for place, answer in enumerate(answers):
        first = seen.setdefault(tuple(turn.content.strip() for turn in answer), place)
        if first != place:
            raise Malformed(f"{key}[{first}] and {key}[{place}] are equal")


def _order(row: Row, key: str, count: int) -> list[int]:
    """Places of the answers, best first: as they stand, by `scores` (highest first) or by `ranks` (lowest first)."""
    given = [name for name in ("scores", "ranks") if name in row]
    if len(given) == 2:
        raise Malformed("has both scores and ranks")
    if not given:
        return list(range(count))
    name = given[0]
    values = [number(value, f"{name}[{place}]") for place, value in enumerate(listed(row, name))]
    if len(values) != count:
        raise Malformed(f"{name} holds {len(values)} numbers for {count} {key}")
    if len(set(values)) != count:
        raise Malformed(f"{name} has ties, and a ranking must not")
    return sorted(range(count), key=lambda place: values[place], reverse=name == "scores")


SHAPES = (
    RowShape(
        "ratings",
        "rating",
        columns("messages score", "messages label", "prompt completion score", "prompt completion label"),
        _rating,
        frozenset({"system"}),
    ),
    RowShape(
        "rankings",
        "ranking",
        columns("prompt answers", "prompt completions"),
        _ranking,
        frozenset({"scores", "ranks", "system"}),
    ),
)
