"""Files in the shape of GSM8K: a question, and worked steps that end in `#### ` and the final number."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

from motet_benchmarks.strategies.tasks.numerals import numbers
from motet_benchmarks.strategies.tasks.rows import Row, read_rows
from motet_benchmarks.strategies.tasks.spoken import spoken
from motet_benchmarks.strategies.tasks.task import Problem

MARK = "####"
#: What is asked for behind every question.
REQUEST = f"Work it out step by step, and end with {MARK} and the final number."
#: A mark and the number at it, currency signs and the like aside. A heading of Markdown has words between the two.
_FINAL = re.compile(rf"{MARK}(?P<final>[^\w#]*(?:boxed\{{[^\w#]*)?\d[^#\n]*)", re.ASCII)


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
    rules = "the number at the first ####, else the last number"

    def __init__(self, file: Path, *, limit: int | None = None) -> None:
        self.name = f"gsm8k {file.stem}"
        rows = read_rows(file, limit)
        right = {str(row.line): _right(row) for row in rows}
        self._right = {line: numbers(final)[0] for line, final in right.items()}
        self.problems = [
            Problem(
                str(row.line),
                self.name,
                ({"role": "user", "content": f"{row.text('question')}\n{REQUEST}"},),
                right[str(row.line)],
            )
            for row in rows
        ]

    def grades(self, problem: Problem) -> bool:
        """All of them."""
        return True

    def grade(self, problem: Problem, text: str) -> float:
        """1 where the number at the first mark, or where no mark has one the last of all, is the reference's.

        The first mark, as the strict match of the lm-evaluation-harness has it: a model that goes on may make up
        further questions, and answer them.
        """
        return float(_said(spoken(text)) == self._right[problem.id])


def _said(text: str) -> Fraction | None:
    final = _FINAL.search(text)
    if final is not None:
        return numbers(final["final"])[0]
    return next(reversed(numbers(text)), None)


def _right(row: Row) -> str:
    _, mark, behind = row.text("answer").rpartition(MARK)
    if not mark or len(numbers(behind)) != 1:
        raise row.wrong(f"answer has no {MARK} and final number")
    return behind.strip()
