"""Files of JSON lines, read whole before anything is asked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from motet_benchmarks.errors import BenchmarkError


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a task's file."""

    file: Path
    line: int
    """Counted from 1."""
    fields: Mapping[str, Any]

    @property
    def place(self) -> str:
        """The file and the line, for errors."""
        return f"{self.file}: line {self.line}"

    def wrong(self, problem: str) -> BenchmarkError:
        """An error that says where."""
        return BenchmarkError(f"{self.place}: {problem}")

    def text(self, name: str) -> str:
        """A field that must hold text. Raises BenchmarkError naming the place."""
        value = self.fields.get(name)
        if not isinstance(value, str) or not value.strip():
            raise self.wrong(f"{name} must be a text")
        return value


def read_rows(file: Path, limit: int | None = None) -> list[Row]:
    """The first `limit` lines of a file, empty ones left out; all where None.

    Every line is looked at, whatever the limit. Raises BenchmarkError naming the file and the line that is no JSON
    object, and for a file that can't be read or has no line.
    """
    try:
        # In bytes: a text may hold separators that only look like the end of a line.
        lines = file.read_bytes().split(b"\n")
    except OSError as problem:
        raise BenchmarkError(f"{file}: {problem.strerror or problem}") from None
    rows = [_row(file, number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not rows:
        raise BenchmarkError(f"{file}: has no line")
    return rows[:limit]


def _row(file: Path, number: int, line: bytes) -> Row:
    try:
        fields = json.loads(line)
        json.dumps(fields, ensure_ascii=False).encode()  # half a character can't be asked for
    except (ValueError, RecursionError) as problem:
        raise BenchmarkError(f"{file}: line {number} is no JSON: {problem}") from None
    if not isinstance(fields, dict):
        raise BenchmarkError(f"{file}: line {number} is no JSON object")
    return Row(file, number, fields)
