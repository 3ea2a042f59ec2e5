"""All questions of a run, strategy by strategy, each once; what is answered already isn't asked again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from motet_benchmarks.endpoint import together
from motet_benchmarks.errors import BenchmarkError, Refused
from motet_benchmarks.strategies.asking import REFUSALS, Asker, Ignored, Question, graded
from motet_benchmarks.strategies.folder import RunFolder
from motet_benchmarks.strategies.lm_eval import LmEvalTask
from motet_benchmarks.strategies.lm_eval import ask as ask_lm_eval
from motet_benchmarks.strategies.records import Run, Strategy
from motet_benchmarks.strategies.tasks.task import GraderError, Task

#: Questions of which a strategy must be able to answer one.
ATTEMPTS = 3


def questions_of(run: Run, strategy: Strategy, tasks: Sequence[Task]) -> list[Question]:
    """All that `strategy` is asked."""
    return [
        Question(strategy, task, problem, draw)
        for task in tasks
        for problem in task.problems
        for draw in range(run.draws_of(strategy))
    ]


@dataclass(frozen=True, slots=True)
class Session:
    """Asks what the folder lacks."""

    asker: Asker
    folder: RunFolder
    tasks: Sequence[Task]
    concurrency: int
    done: Callable[[int], None] = lambda count: None
    """Told of so many questions that are settled."""

    async def ask(self) -> None:
        """One strategy after the other, so that none is timed in the company of a dearer one.

        Raises BenchmarkError where the endpoint fails, a grader raises, or no strategy is served; what was answered
        until then is in the folder.
        """
        run = self.folder.run
        ours = [task for task in self.tasks if not isinstance(task, LmEvalTask)]
        for strategy in run.strategies:
            wanted = questions_of(run, strategy, self.tasks)
            missing = [question for question in wanted if question.key not in self.folder.samples]
            self.done(len(wanted) - len(missing))
            direct = [question for question in missing if question.task in ours]
            try:
                await self._attempt(missing)
                await self._ask(strategy, direct)
            except (Refused, Ignored) as refusal:
                if isinstance(refusal, Refused) and refusal.status not in REFUSALS:
                    raise
                self.folder.refuse(strategy.name, str(refusal))
                self.done(sum(question.key not in self.folder.samples for question in missing))
            else:
                self.folder.refuse(strategy.name, None)
        if len(self.folder.run.refused) == len(run.strategies):
            said = "\n".join(f"  {name}: {reason}" for name, reason in self.folder.run.refused.items())
            raise BenchmarkError(f"{self.asker.endpoint.url} serves none of the strategies:\n{said}")

    async def _attempt(self, questions: Sequence[Question]) -> None:
        """Warms the endpoint up, and tells a strategy that it refuses from a problem: the first, the middle, the last.

        Raises the first one's refusal where all are refused.
        """
        last = len(questions) - 1
        places = sorted({part * last // (ATTEMPTS - 1) for part in range(ATTEMPTS)}) if questions else []
        refusals: list[Refused] = []
        for question in (questions[place] for place in places):
            try:
                await self.asker.attempt(question)
                return
            except Refused as refusal:
                if refusal.status not in REFUSALS:
                    raise
                refusals.append(refusal)
        if refusals:
            raise refusals[0]

    async def _ask(self, strategy: Strategy, questions: Sequence[Question]) -> None:
        """These questions, then lm_eval's tasks."""
        places = asyncio.Semaphore(self.concurrency)

        async def one(question: Question) -> None:
            async with places:
                sample, complaint = await self.asker.ask(question)
            self.folder.add(sample)
            self.done(1)
            if complaint is not None:
                raise complaint

        await together([one(question) for question in questions])
        await ask_lm_eval(
            self.asker,
            self.folder,
            strategy,
            [task for task in self.tasks if isinstance(task, LmEvalTask)],
            draws=self.asker.run.draws_of(strategy),
            concurrency=self.concurrency,
            done=self.done,
        )


def regrade(folder: RunFolder, tasks: Sequence[Task]) -> None:
    """Gives kept answers the grades of today's graders, so that one that was mended between two runs counts for all.

    What lm_eval has graded keeps its grade. Raises the complaint of a grader that raises, when all others are graded.
    """
    places = {
        (task.name, problem.id): (task, problem)
        for task in tasks
        if not isinstance(task, LmEvalTask)
        for problem in task.problems
    }
    changed = []
    complaints: list[GraderError] = []
    for sample in folder.samples.values():
        if (sample.task, sample.problem) not in places:
            continue
        task, problem = places[sample.task, sample.problem]
        score, complaint = graded(task, problem, sample.text)
        if complaint is not None:
            complaints.append(complaint)
        if score != sample.score:
            changed.append(sample.model_copy(update={"score": score}))
    if changed:
        folder.replace(changed)
    if complaints:
        raise complaints[0]
