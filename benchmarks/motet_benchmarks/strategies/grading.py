"""What answers are worth: grades by their task's grader, rewards by the run's judge."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence, Set

from motet_benchmarks.endpoint import together
from motet_benchmarks.strategies.folder import Key, RunFolder, key_of
from motet_benchmarks.strategies.lm_eval import LmEvalTask
from motet_benchmarks.strategies.records import Sample, Strategy
from motet_benchmarks.strategies.rewards import Judge
from motet_benchmarks.strategies.tasks.task import GraderError, Problem, Task

#: Answers whose rewards are kept together.
_KEPT = 256


async def grade(folder: RunFolder, tasks: Sequence[Task], keys: Set[Key] | None = None) -> None:
    """Gives kept answers the grades of today's graders, so that one that was mended between two runs counts for all.

    Graders don't hold up the event loop, and aren't shown the empty answer of a refused problem, which is wrong. What
    lm_eval has graded keeps its grade. Raises the first complaint of a grader that raises, when all others are graded.

    Args:
        folder: of the answers.
        tasks: whose graders.
        keys: of the answers; all where None.
    """
    changed, complaints = [], []
    for sample, task, problem in _answered(folder, tasks):
        if isinstance(task, LmEvalTask) or (keys is not None and key_of(sample) not in keys):
            continue
        try:
            score = await _score(sample, task, problem)
        except GraderError as complaint:
            score = None
            complaints.append(complaint)
        if score != sample.score:
            changed.append(sample.model_copy(update={"score": score}))
    if changed:
        folder.replace(changed)
    if complaints:
        raise complaints[0]


async def _score(sample: Sample, task: Task, problem: Problem) -> float | None:
    if sample.refusal is not None:
        return 0.0 if task.grades(problem) else None
    return await asyncio.to_thread(task.grade, problem, sample.text)


async def judge(folder: RunFolder, tasks: Sequence[Task], by: Judge, strategy: Strategy) -> None:
    """Gives rewards to a strategy's answers that have none, those among them that the judge couldn't read before.

    Raises BenchmarkError where the judge fails; rewards until then are kept.
    """
    left = [
        (sample, problem)
        for sample, _, problem in _answered(folder, tasks)
        if sample.strategy == strategy.name and sample.reward is None and sample.refusal is None
    ]
    for start in range(0, len(left), _KEPT):
        part = left[start : start + _KEPT]
        rewards = await together([by.reward(problem.messages, sample.text) for sample, problem in part])
        folder.replace(
            sample.model_copy(update={"reward": reward})
            for (sample, _), reward in zip(part, rewards, strict=True)
        )


def _answered(folder: RunFolder, tasks: Sequence[Task]) -> Iterator[tuple[Sample, Task, Problem]]:
    places = {(task.name, problem.id): (task, problem) for task in tasks for problem in task.problems}
    for sample in [*folder.samples.values()]:
        if (of := (sample.task, sample.problem)) in places:
            yield sample, *places[of]
