"""What a task is to a run: problems with names, and a grade for each answer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.strategies.records import TaskRecord


class GraderError(BenchmarkError):
    """A grader that gives no grade; the sentence names the problem and the grader."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to ask."""

    id: str
    """Within its task."""
    family: str
    """What kind; the task's name where it has no kinds."""
    messages: tuple[Mapping[str, str], ...]
    reference: str | None
    """What would be right, for a reader."""


class Task(Protocol):
    """Problems and how their answers are graded."""

    @property
    def name(self) -> str:
        """What tables call it."""

    @property
    def metric(self) -> str:
        """What a grade from 0 to 1 says."""

    @property
    def problems(self) -> Sequence[Problem]:
        """In the order that they are asked in; at least one."""

    @property
    def tokens(self) -> int | None:
        """The longest answer where nobody says another; None where every request of the task says its own."""

    @property
    def rules(self) -> str:
        """How it grades, in a word that changes when that does."""

    def grades(self, problem: Problem) -> bool:
        """Whether it grades answers to a problem at all."""

    def grade(self, problem: Problem, text: str) -> float | None:
        """From 0 to 1, or None where the task grades nothing. A grader of the user's may take its time.

        Raises GraderError, and KeyboardInterrupt where Ctrl-C ends the wait for such a grader.
        """


def record_of(task: Task) -> TaskRecord:
    """The task as `run.json` has it."""
    asked = [
        {"id": one.id, "family": one.family, "messages": [dict(each) for each in one.messages]}
        | {"reference": one.reference}
        for one in task.problems
    ]
    content = json.dumps({"problems": asked, "rules": task.rules}, sort_keys=True)
    return TaskRecord(
        name=task.name,
        metric=task.metric,
        problems=len(task.problems),
        tokens=task.tokens,
        digest=hashlib.sha256(content.encode()).hexdigest(),
    )
