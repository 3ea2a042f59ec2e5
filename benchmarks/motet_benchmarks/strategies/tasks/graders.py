"""Graders of a user's own problems: what they compare, and functions of the user's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import re2  # type: ignore[import-untyped,unused-ignore]

from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.strategies.tasks.numerals import numbers
from motet_benchmarks.strategies.tasks.rows import Row
from motet_benchmarks.strategies.tasks.spoken import spoken
from motet_benchmarks.strategies.tasks.user_function import UserFunction, UserFunctionError

#: From an answer, the references and the row to a grade from 0 to 1.
Grader = Callable[[str, Sequence[str], Row], float | None]

#: How --grader looks, for help and errors.
GRADERS = "exact, contains, number, regex, none, python:FILE.py:FUNCTION or python:MODULE:FUNCTION"

_PYTHON = "python:"


def exact(text: str, references: Sequence[str], row: Row) -> float:
    """Whether the answer is one of the references, outer blanks aside."""
    return float(spoken(text).strip() in {reference.strip() for reference in references})


def contains(text: str, references: Sequence[str], row: Row) -> float:
    """Whether one of the references is in the answer, capitals aside."""
    said = spoken(text).casefold()
    return float(any(reference.strip().casefold() in said for reference in references))


def number(text: str, references: Sequence[str], row: Row) -> float:
    """Whether the answer's last number is that of a reference."""
    said = numbers(spoken(text))
    return float(bool(said) and any(numbers(reference) == said[-1:] for reference in references))


def regex(text: str, references: Sequence[str], row: Row) -> float:
    """Whether a reference, a regular expression of RE2's syntax, is found in the answer."""
    said = spoken(text)
    return float(any(re2.search(reference, said) is not None for reference in references))


BUILT_IN: Mapping[str, Grader] = MappingProxyType(
    {"exact": exact, "contains": contains, "number": number, "regex": regex}
)


def grader_of(name: str) -> Grader | None:
    """The grader that `name` means; None for `none`.

    A user's own function is imported by a process of its own, and called with the whole answer and the row's fields.
    Raises BenchmarkError for what is no grader, or can't be imported.
    """
    if name == "none":
        return None
    if name in BUILT_IN:
        return BUILT_IN[name]
    if not name.startswith(_PYTHON):
        raise BenchmarkError(f"--grader {name}: must be {GRADERS}")
    place, function = _place(name)
    if not place or not function:
        raise BenchmarkError(f"--grader {name}: must be python:FILE.py:FUNCTION or python:MODULE:FUNCTION")
    try:
        users = UserFunction(place, function)
    except UserFunctionError as problem:
        raise BenchmarkError(f"--grader {name}: {problem}") from None
    return lambda text, references, row: users(text, row.fields)


def rule_of(name: str) -> str:
    """What a run remembers of the grader `name`: the same for a file that was mended or moved."""
    place, function = _place(name)
    return f"{_PYTHON}{Path(place).name}:{function}" if place.endswith(".py") else name


def check_references(name: str, references: Sequence[str], row: Row) -> None:
    """Raises BenchmarkError naming the line whose references the grader `name` can't compare with."""
    if name not in BUILT_IN:
        return
    if not references:
        raise row.wrong(f"the grader {name} compares with a reference, and there is none")
    for reference in references:
        if name == "number" and not numbers(reference):
            raise row.wrong(f"reference {reference!r:.80} has no number")
        if name == "number" and len(numbers(reference)) > 1:
            raise row.wrong(f"reference {reference!r:.80} has several numbers, and must be one")
        if name == "regex":
            try:
                re2.compile(reference)
            except re2.error as problem:
                raise row.wrong(f"reference {reference!r:.80} is no regular expression: {problem}") from None


def _place(name: str) -> tuple[str, str]:
    """The file or module and the function that a user's own grader names."""
    place, _, function = name.removeprefix(_PYTHON).rpartition(":")
    return place, function
