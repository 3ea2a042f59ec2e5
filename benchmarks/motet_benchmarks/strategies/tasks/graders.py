"""Graders of a user's own problems: what they compare, and functions of the user's own."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

import re2  # type: ignore[import-untyped,unused-ignore]

from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.strategies.tasks.rows import Row

#: From an answer, the references and the row to a grade from 0 to 1.
Grader = Callable[[str, Sequence[str], Row], float | None]

#: How --grader looks, for help and errors.
GRADERS = "exact, contains, number, regex, none, python:FILE.py:FUNCTION or python:MODULE:FUNCTION"

_PYTHON = "python:"
_NUMBER = re.compile(r"(?:(?<![\w.])[-\u2212])?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+", re.ASCII)


def numbers(text: str) -> list[Decimal]:
    """The numbers in `text`, thousands with commas or without, in its order."""
    return [Decimal(found.replace(",", "").replace("\u2212", "-")) for found in _NUMBER.findall(text)]


def exact(text: str, references: Sequence[str], row: Row) -> float:
    """Whether the answer is one of the references, outer blanks aside."""
    return float(text.strip() in {reference.strip() for reference in references})


def contains(text: str, references: Sequence[str], row: Row) -> float:
    """Whether one of the references is in the answer, capitals aside."""
    said = text.casefold()
    return float(any(reference.strip().casefold() in said for reference in references))


def number(text: str, references: Sequence[str], row: Row) -> float:
    """Whether the answer's last number is that of a reference."""
    said = numbers(text)
    return float(bool(said) and any(numbers(reference)[-1:] == said[-1:] for reference in references))


def regex(text: str, references: Sequence[str], row: Row) -> float:
    """Whether a reference, a regular expression of RE2's syntax, is found in the answer."""
    return float(any(re2.search(reference, text) is not None for reference in references))


BUILT_IN: Mapping[str, Grader] = MappingProxyType(
    {"exact": exact, "contains": contains, "number": number, "regex": regex}
)


def grader_of(name: str) -> Grader | None:
    """The grader that `name` means; None for `none`.

    A user's own function is imported from the user's machine, and called with the answer and the row's fields.
    Raises BenchmarkError for what is no grader, or can't be imported.
    """
    if name == "none":
        return None
    if name in BUILT_IN:
        return BUILT_IN[name]
    if not name.startswith(_PYTHON):
        raise BenchmarkError(f"--grader {name}: must be {GRADERS}")
    place, _, function = name.removeprefix(_PYTHON).rpartition(":")
    if not place or not function:
        raise BenchmarkError(f"--grader {name}: must be python:FILE.py:FUNCTION or python:MODULE:FUNCTION")
    try:
        found: Any = getattr(_module(place), function)
    except Exception as problem:  # noqa: BLE001  # whatever a module of the user's raises is told
        raise BenchmarkError(f"--grader {name}: {type(problem).__name__}: {problem}") from None
    if not callable(found):
        raise BenchmarkError(f"--grader {name}: {function} is no function")
    return lambda text, references, row: _grade(found(text, row.fields))


def check_references(name: str, references: Sequence[str], row: Row) -> None:
    """Raises BenchmarkError naming the line whose references the grader `name` can't compare with."""
    if name not in BUILT_IN:
        return
    if not references:
        raise row.wrong(f"the grader {name} compares with a reference, and there is none")
    for reference in references:
        if name == "number" and not numbers(reference):
            raise row.wrong(f"reference {reference!r:.80} has no number")
        if name == "regex":
            try:
                re2.compile(reference)
            except re2.error as problem:
                raise row.wrong(f"reference {reference!r:.80} is no regular expression: {problem}") from None


def _module(place: str) -> ModuleType:
    if not place.endswith(".py"):
        # As `python -m` does: a module beside the user's files.
        if "" not in sys.path and str(Path.cwd()) not in sys.path:
            sys.path.insert(0, str(Path.cwd()))
        return importlib.import_module(place)
    name = f"motet_grader_{hashlib.sha256(str(Path(place).resolve()).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, place)
    if spec is None or spec.loader is None:
        raise ImportError(f"{place} can't be imported")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _grade(value: Any) -> float | None:
    if value is None:
        return None
    if not isinstance(value, bool | int | float) or not 0 <= value <= 1:
        raise ValueError(f"gave {value!r:.80}, which is no number from 0 to 1")
    return float(value)
