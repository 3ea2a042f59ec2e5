"""The tasks of --tasks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.strategies.lm_eval import LmEvalTask
from motet_benchmarks.strategies.lm_eval_process import PREFIX
from motet_benchmarks.strategies.tasks.of_file import FileTask
from motet_benchmarks.strategies.tasks.of_gsm8k import Gsm8kTask
from motet_benchmarks.strategies.tasks.of_gym import GymTask
from motet_benchmarks.strategies.tasks.task import Task

#: How --tasks looks, for help and errors.
TASKS = f"gym, FILE.jsonl, gsm8k:FILE or {PREFIX}TASK"


_GSM8K = "gsm8k:"


@dataclass(frozen=True, slots=True)
class Choosing:
    """Which problems of each task, and how a user's own are graded."""

    count: int
    """Of each family of the gym."""
    families: tuple[str, ...] | None = None
    limit: int | None = None
    """The first so many of each file and of each of lm_eval's tasks; all where None."""
    grader: str = "exact"
    """Of a user's own files."""
    lm_eval: tuple[str, ...] = ()
    """Further options of lm_eval."""
    seed: int = 0


def tasks_of(words: Sequence[str], choosing: Choosing) -> list[Task]:
    """The tasks that `words` name. Raises BenchmarkError naming what is no task, or the file and line."""
    tasks = [_task(word, choosing) for word in words]
    if not tasks:
        raise BenchmarkError(f"--tasks: nothing to ask; name {TASKS}")
    name, count = Counter(task.name for task in tasks).most_common(1)[0]
    if count > 1:
        raise BenchmarkError(f"--tasks: {count} tasks are called {name}; rename a file")
    return tasks


def _task(word: str, choosing: Choosing) -> Task:
    if word == "gym":
        return GymTask(count=choosing.count, seed=choosing.seed, families=choosing.families)
    if word.startswith(_GSM8K):
        return Gsm8kTask(Path(word.removeprefix(_GSM8K)), limit=choosing.limit)
    if word.startswith(PREFIX):
        return LmEvalTask(word, limit=choosing.limit, options=choosing.lm_eval)
    if word.endswith(".jsonl"):
        return FileTask(Path(word), grader=choosing.grader, limit=choosing.limit)
    raise BenchmarkError(f"--tasks {word}: must be {TASKS}")
