"""Tasks of the lm-evaluation-harness, asked by its own OpenAI client and graded by itself.

``lm_eval`` is started once to list a task's problems, all of them answered by an empty text, and then once for each
strategy and draw. Its requests come to a proxy, where they are asked like any other task's; what it makes of the
answers becomes their scores.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.strategies.asking import Asker, Question
from motet_benchmarks.strategies.folder import RunFolder
from motet_benchmarks.strategies.lm_eval_process import Harness
from motet_benchmarks.strategies.records import Sample, Strategy
from motet_benchmarks.strategies.tasks.task import Problem

#: Problems that are listed at once.
_LISTING = 16
#: What lm_eval sends with every request and the run decides itself.
_DROPPED = frozenset({"model", "messages", "seed"})


class LmEvalTask:
    """A task or a group of lm_eval's, with the problems that it will ask.

    Args:
        name: lm-eval:TASK, lm-eval:TASK:METRIC or lm-eval:TASK:METRIC:FILTER.
        limit: the first so many problems of it, or of each task of a group; all where None.
        options: further words for lm_eval, such as --num_fewshot 5.
        program: the installed lm_eval; looked for where None.

    Raises:
        BenchmarkError: lm_eval isn't installed, doesn't know the task or an option, or can't ask or grade it so.
    """

    tokens = None

    def __init__(
        self,
        name: str,
        *,
        limit: int | None = None,
        options: Sequence[str] = (),
        program: Path | None = None,
    ) -> None:
        self.harness = Harness(name, limit, tuple(options), program)

        async def nothing(asked: dict[str, Any]) -> str:
            return ""

        rows = asyncio.run(self.harness.rows(nothing, concurrency=_LISTING))
        file = Path(self.harness.task)
        self.name = name.replace(str(self.harness.task), file.stem) if file.suffix == ".yaml" else name
        self.metric = " / ".join(dict.fromkeys(row.metric for row in rows))
        self.problems = [Problem(row.problem, row.family, row.messages, row.reference) for row in rows]
        self.alike: dict[str, list[Problem]] = {}
        for problem in self.problems:
            self.alike.setdefault(digest(problem.messages), []).append(problem)
        graded = [[row.metric, row.filter, row.settings] for row in rows]
        self.rules = digest([graded, self.harness.options])

    def grades(self, problem: Problem) -> bool:
        """None by itself."""
        return False

    def grade(self, problem: Problem, text: str) -> None:
        """Nothing: lm_eval grades all answers at once, when it has them."""


async def ask(
    asker: Asker,
    folder: RunFolder,
    strategy: Strategy,
    tasks: Sequence[LmEvalTask],
    *,
    draws: int,
    concurrency: int,
    done: Callable[[int], None] = lambda count: None,
) -> None:
    """Asks what the folder lacks of a strategy's answers to ``tasks``, and has all of them graded.

    Args:
        asker: puts questions to the endpoint.
        folder: gets the samples, without a score at first.
        strategy: whose answers.
        tasks: in the order that they are asked in.
        draws: answers to each problem.
        concurrency: the most requests at once.
        done: told of so many questions that are settled.

    Raises:
        Refused, Ignored: the endpoint doesn't serve the strategy.
        BenchmarkError: it doesn't answer, or lm_eval fails; answers until then are in the folder.
    """
    for task in tasks:
        for draw in range(draws):
            sitting = _Sitting(asker, folder, strategy, task, draw, done)
            if any(sample is None or sample.score is None for sample in sitting.samples().values()):
                rows = await task.harness.rows(sitting, concurrency=concurrency)
                sitting.grade({row.problem: row.score for row in rows})


@dataclass
class _Sitting:
    """One task as it is asked of one strategy: answers lm_eval's requests."""

    asker: Asker
    folder: RunFolder
    strategy: Strategy
    task: LmEvalTask
    draw: int
    done: Callable[[int], None]
    _locks: dict[str, asyncio.Lock] = field(default_factory=dict)

    def samples(self) -> dict[str, Sample | None]:
        """By problem, the folder's; None where it has none."""
        return {
            problem.id: self.folder.samples.get(self._question(problem).key) for problem in self.task.problems
        }

    async def __call__(self, asked: dict[str, Any]) -> str:
        """The text that the endpoint gives, or has given before. Raises BenchmarkError."""
        messages = asked.get("messages")
        # lm_eval doesn't say which problem it asks. Those whose prompts are the same share an answer.
        key = digest(messages)
        problems = self.task.alike.get(key)
        if problems is None:
            raise BenchmarkError(
                f"{self.task.name}: lm_eval asks what it hasn't listed: {str(messages)[-200:]}"
            )
        async with self._locks.setdefault(key, asyncio.Lock()):
            known = self.folder.samples.get(self._question(problems[0]).key)
            if known is None:
                known = await self._ask(problems[0], asked)
            for problem in problems:
                if self._question(problem).key not in self.folder.samples:
                    told = {"problem": problem.id, "family": problem.family, "reference": problem.reference}
                    self.folder.add(known.model_copy(update=told))
                    self.done(1)
            return known.text

    def grade(self, scores: Mapping[str, float]) -> None:
        """Gives the folder's samples their scores. Raises BenchmarkError unless there is one for each."""
        samples = self.samples()
        if scores.keys() != samples.keys() or None in samples.values():
            raise BenchmarkError(f"{self.task.name}: lm_eval has graded other problems than it has listed")
        self.folder.replace(
            sample.model_copy(update={"score": scores[problem] if sample.refusal is None else 0.0})
            for problem, sample in samples.items()
            if sample is not None
        )

    async def _ask(self, problem: Problem, asked: Mapping[str, Any]) -> Sample:
        task = {name: value for name, value in asked.items() if name not in _DROPPED}
        return await self.asker.ask(self._question(problem, task))

    def _question(self, problem: Problem, asked: Mapping[str, Any] | None = None) -> Question:
        return Question(self.strategy, self.task, problem, self.draw, asked or {})


def digest(value: object) -> str:
    """SHA-256 of what JSON can hold."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
