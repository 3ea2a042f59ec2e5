"""Files in the shape of GSM8K: a question, and worked steps that end in `#### ` and the final number."""

from __future__ import annotations

from pathlib import Path

from motet_benchmarks.strategies.tasks.graders import numbers
from motet_benchmarks.strategies.tasks.rows import Row, read_rows
from motet_benchmarks.strategies.tasks.task import Problem

MARK = "####"
#: What is asked for behind every question.
REQUEST = f"Work it out step by step, and end with {MARK} and the final number."


class Gsm8kTask:
    """The problems of such a file, right where the final number is.

    Args:
        file: JSON lines with `question` and `answer`.
        limit: the first so many lines; all where None.

    Raises:
        BenchmarkError: naming the file and the line that has no question or no final number.
    """

    metric = "accuracy"
    tokens = 512
    rules = "the number behind the last ####, else the last number"

    def __init__(self, file: Path, *, limit: int | None = None) -> None:
        self.name = f"gsm8k {file.stem}"
        rows = read_rows(file, limit)
        self._right = {str(row.line): _final(row) for row in rows}
        self.problems = [
            Problem(
                str(row.line),
                self.name,
                ({"role": "user", "content": f"{row.text('question')}\n{REQUEST}"},),
                self._right[str(row.line)],
            )
            for row in rows
        ]

    def grade(self, problem: Problem, text: str) -> float:
        """1 where the first number behind the last mark, or without a mark the last of all, is the reference's."""
        _, mark, behind = text.rpartition(MARK)
        said = numbers(behind)
        final = said[:1] if mark and said else said[-1:]
        return float(final == numbers(self._right[problem.id])[:1])


def _final(row: Row) -> str:
    _, mark, behind = row.text("answer").rpartition(MARK)
    if not mark or not numbers(behind):
        raise row.wrong(f"answer has no {MARK} and final number")
    return behind.strip()
