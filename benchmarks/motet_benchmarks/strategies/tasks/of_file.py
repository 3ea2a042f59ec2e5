"""A user's own problems: a line of JSON each, with a prompt or messages, references and a family."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from motet_benchmarks.strategies.tasks.graders import BUILT_IN, Grader, check_references, grader_of, rule_of
from motet_benchmarks.strategies.tasks.rows import Row, read_rows
from motet_benchmarks.strategies.tasks.task import GraderError, Problem
from motet_benchmarks.strategies.tasks.user_function import UserFunctionError

_ROLES = ("system", "developer", "user", "assistant")


@dataclass(frozen=True, slots=True)
class _Graded:
    row: Row
    references: tuple[str, ...]
    by: str
    grader: Grader | None


class FileTask:
    """The problems of a JSON lines file.

    A line has `prompt` or `messages`, and may have `reference` or `references`, `family`, `id` and a built-in
    `grader` of its own.

    Args:
        file: the file; the task is called by its name without the ending.
        grader: for lines that name none.
        limit: the first so many lines; all where None.

    Raises:
        BenchmarkError: naming the file, the line and what is wrong with it, or a grader that there isn't.
    """

    tokens = 512

    def __init__(self, file: Path, *, grader: str = "exact", limit: int | None = None) -> None:
        self.name = file.stem
        default = grader_of(grader)
        self._graded: dict[str, _Graded] = {}
        self.problems: list[Problem] = []
        for row in read_rows(file, limit):
            by = _own_grader(row)
            references = _references(row)
            problem = Problem(
                _id(row), _family(row, self.name), _messages(row), " or ".join(references) or None
            )
            check_references(by or grader, references, row)
            if problem.id in self._graded:
                raise row.wrong(_taken(problem.id, row, self._graded[problem.id].row))
            self._graded[problem.id] = _Graded(
                row, references, by or grader, default if by is None else grader_of(by)
            )
            self.problems.append(problem)
        rules = [[rule_of(each.by), each.references] for each in self._graded.values()]
        self.rules = hashlib.sha256(json.dumps(rules).encode()).hexdigest()
        self.metric = "accuracy" if {each.by for each in self._graded.values()} != {"none"} else "not graded"

    def grades(self, problem: Problem) -> bool:
        """Unless its grader is none."""
        return self._graded[problem.id].grader is not None

    def grade(self, problem: Problem, text: str) -> float | None:
        """By the line's grader or the file's. Raises GraderError naming the file, the line and the grader."""
        graded = self._graded[problem.id]
        if graded.grader is None:
            return None
        try:
            return graded.grader(text, graded.references, graded.row)
        except UserFunctionError as said:
            raise GraderError(
                f"{graded.row.place}: the grader {graded.by} failed on an answer ({said}); mend it and run the same "
                "command again, which grades what is answered and asks the rest"
            ) from None


def _messages(row: Row) -> tuple[Mapping[str, str], ...]:
    messages = row.fields.get("messages")
    if ("prompt" in row.fields) == (messages is not None):
        raise row.wrong("must have either a prompt or messages")
    if messages is None:
        return ({"role": "user", "content": row.text("prompt")},)
    if not isinstance(messages, list) or not messages:
        raise row.wrong("messages must be a list of messages")
    for place, message in enumerate(messages):
        if not isinstance(message, dict) or message.keys() != {"role", "content"}:
            raise row.wrong(f"messages.{place} must have a role and content")
        if message["role"] not in _ROLES or not isinstance(message["content"], str):
            raise row.wrong(f"messages.{place} must have one of the roles {', '.join(_ROLES)} and a text")
    if messages[-1]["role"] == "assistant":
        raise row.wrong("messages end with the assistant's, which leaves nothing to answer")
    return tuple(messages)


def _references(row: Row) -> tuple[str, ...]:
    if "reference" in row.fields and "references" in row.fields:
        raise row.wrong("must have either a reference or references")
    listed = row.fields.get("references", [row.fields["reference"]] if "reference" in row.fields else [])
    if not isinstance(listed, list):
        raise row.wrong("references must be a list")
    for each in listed:
        if isinstance(each, bool) or not isinstance(each, str | int | float) or not _written(each).strip():
            raise row.wrong(f"a reference must be a text or a number, got {each!r:.80}")
    return tuple(map(_written, listed))


def _written(reference: str | float) -> str:
    """A number as an answer would have it: 4.0 as 4, and 1e-05 as 0.00001; empty where it is none."""
    if not isinstance(reference, float):
        return str(reference)
    # 0.0 makes 0 of -0.
    return format(Decimal(repr(reference + 0.0)), "f").removesuffix(".0") if math.isfinite(reference) else ""


def _own_grader(row: Row) -> str | None:
    """A file may choose among what is built in; code to run is named on the command line alone."""
    by = row.fields.get("grader")
    if by is not None and by not in (*BUILT_IN, "none"):
        raise row.wrong(f"grader must be {', '.join(BUILT_IN)} or none, got {by!r:.80}")
    return by


def _family(row: Row, default: str) -> str:
    return row.text("family") if "family" in row.fields else default


def _taken(name: str, row: Row, other: Row) -> str:
    if "id" not in row.fields:
        return f"has no id and is called {name} by its place, as line {other.line} is by its id; give it one"
    if "id" not in other.fields:
        return f"id {name} is what line {other.line} is called, which has none; give it one"
    return f"id {name} is that of line {other.line} too"


def _id(row: Row) -> str:
    name = row.fields.get("id", row.line)
    if isinstance(name, bool) or not isinstance(name, str | int) or not str(name):
        raise row.wrong("id must be a text or a number")
    return str(name)
