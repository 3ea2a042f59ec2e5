"""All questions of a run, strategy by strategy, each once; what is answered already isn't asked again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice

from motet_benchmarks.endpoint import together
from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.strategies.asking import Asker, Question
from motet_benchmarks.strategies.folder import RunFolder
from motet_benchmarks.strategies.grading import grade, judge
from motet_benchmarks.strategies.lm_eval import LmEvalTask
from motet_benchmarks.strategies.lm_eval import ask as ask_lm_eval
from motet_benchmarks.strategies.records import Run, Strategy
from motet_benchmarks.strategies.refusing import refuses
from motet_benchmarks.strategies.rewards import Judge
from motet_benchmarks.strategies.tasks.task import Task


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
    warm_up: int = 1
    """Answers of each strategy that come first and aren't kept, as many at once as others."""
    judge: Judge | None = None
    done: Callable[[int], None] = lambda count: None
    """Told of so many questions that are settled."""
    say: Callable[[str], None] = lambda what: None
    """Told of what is being done."""

    async def ask(self) -> None:
        """One strategy after the other, so that none is timed in the company of a dearer one.

        A judge and graders come when a strategy has answered everything, and so at nobody's cost in time. Raises
        BenchmarkError where the endpoint fails, a grader raises, or no strategy is served; what was answered until
        then is in the folder.
        """
        run = self.folder.run
        for strategy in run.strategies:
            self.say(f"{strategy.name} answers")
            wanted = questions_of(run, strategy, self.tasks)
            missing = [question for question in wanted if question.key not in self.folder.samples]
            self.done(len(wanted) - len(missing))
            try:
                await self._attempt(wanted, missing)
                await self._answers(strategy, missing)
            except BenchmarkError as refusal:
                if not refuses(refusal):
                    raise
                self.folder.refuse(strategy.name, str(refusal))
                self.done(sum(question.key not in self.folder.samples for question in missing))
                continue
            self.folder.refuse(strategy.name, None)
            if self.judge is not None:
                self.say(f"{strategy.name} gets rewards")
                await judge(self.folder, self.tasks, self.judge, strategy)
            self.say(f"{strategy.name} is graded")
            await grade(self.folder, self.tasks, {question.key for question in missing})
        if len(self.folder.run.refused) == len(run.strategies):
            said = "\n".join(f"  {name}: {reason}" for name, reason in self.folder.run.refused.items())
            raise BenchmarkError(f"{self.asker.endpoint.url} serves none of the strategies:\n{said}")

    async def _attempt(self, wanted: Sequence[Question], missing: Sequence[Question]) -> None:
        """Warms the endpoint up, and tells a strategy that it refuses from a problem that it does.

        The first problem is asked, the shortest and the last, and one that was answered before. Raises the refusal of
        the latter, or of the first, where all are refused.
        """
        if not missing:
            return
        shortest = min(
            missing, key=lambda question: sum(len(each["content"]) for each in question.problem.messages)
        )
        known = self.folder.samples
        answered = [each for each in wanted if each.key in known and known[each.key].refusal is None]
        refusals: list[BenchmarkError] = []
        for question in {
            each.key: each for each in (missing[0], shortest, missing[-1], *answered[:1])
        }.values():
            try:
                await self.asker.attempt(question)
                break
            except BenchmarkError as refusal:
                if not refuses(refusal):
                    raise
                refusals.append(refusal)
        else:
            raise refusals[-1 if answered else 0]
        await self._at_once(self._warm, islice(cycle(missing), self.warm_up - 1))

    async def _answers(self, strategy: Strategy, questions: Sequence[Question]) -> None:
        """Task after task."""
        for task in self.tasks:
            if isinstance(task, LmEvalTask):
                await ask_lm_eval(
                    self.asker,
                    self.folder,
                    strategy,
                    [task],
                    draws=self.asker.run.draws_of(strategy),
                    concurrency=self.concurrency,
                    done=self.done,
                )
            else:
                await self._at_once(self._keep, (one for one in questions if one.task is task))

    async def _keep(self, question: Question) -> None:
        self.folder.add(await self.asker.ask(question))
        self.done(1)

    async def _warm(self, question: Question) -> None:
        try:
            await self.asker.attempt(question)
        except BenchmarkError as refusal:
            if not refuses(refusal):
                raise

    async def _at_once(
        self, ask: Callable[[Question], Awaitable[None]], questions: Iterable[Question]
    ) -> None:
        """As many together as may be. When one fails, those that are under way are waited for."""
        left = iter(questions)
        failures: list[BenchmarkError] = []

        async def one_after_the_other() -> None:
            for question in left:
                try:
                    await ask(question)
                except BenchmarkError as failure:
                    failures.append(failure)
                if failures:
                    return

        await together([one_after_the_other() for _ in range(self.concurrency)])
        if failures:
            # An endpoint that fails isn't taken for one that refuses.
            raise next((failure for failure in failures if not refuses(failure)), failures[0])
