"""The problems on which strategies differ most, answers side by side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean, pvariance

from motet_benchmarks.strategies.figures import reward, score
from motet_benchmarks.strategies.records import Sample
from motet_benchmarks.strategies.report.analysis import Analysis

#: Problems of a task, and of one of its families, that are shown.
PROBLEMS, OF_FAMILY = 6, 2

#: Characters of a text that are shown.
LONGEST = 1_200


@dataclass(frozen=True, slots=True)
class Answer:
    """One strategy's first answer."""

    strategy: str
    text: str
    score: float | None
    reward: float | None
    refusal: str | None = None
    """Why there is no text."""

    @property
    def standing(self) -> str:
        """How it is marked: right, wrong, in between, or unjudged."""
        if self.refusal is not None:
            return "refused"
        if self.score is None:
            return "ungraded"
        return "right" if self.score == 1 else "wrong" if self.score == 0 else "partly"


@dataclass(frozen=True, slots=True)
class Example:
    """A problem and what strategies answered."""

    problem: str
    family: str
    prompt: str
    reference: str | None
    answers: tuple[Answer, ...]


def examples(found: Analysis, task: str) -> list[Example]:
    """Problems with the largest variance among strategies, by score, or by reward in a task without a grader.

    Of problems that strategies differ on alike, those come first that the first strategy does worst on. Strategies are
    those that plots show.
    """
    shown = found.shown(task)
    figure = score if found.scored(task) else reward
    cells = {name: found.table.answers(task, name) for name in shown}
    ranked = []
    for problem, answers in cells[shown[0]].items():
        own = [cell[problem] for cell in cells.values() if problem in cell]
        values = [_mean(samples, figure) for samples in own]
        known = [value for value in values if value is not None]
        if len(known) > 1 and (spread := pvariance(known)) > 0:
            ranked.append((-spread, known[0], problem, answers[0].family))
    chosen: list[str] = []
    families: dict[str, int] = {}
    for _, _, problem, family in sorted(ranked):
        if families.get(family, 0) < OF_FAMILY and len(chosen) < PROBLEMS:
            families[family] = families.get(family, 0) + 1
            chosen.append(problem)
    return [
        _example(
            [min(cell[problem], key=lambda sample: sample.draw) for cell in cells.values() if problem in cell]
        )
        for problem in chosen
    ]


def cut(text: str) -> str:
    """As much of a text as is shown."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text) - LONGEST:,} more characters)"


def _mean(samples: list[Sample], figure: Callable[[Sample], float | None]) -> float | None:
    known = [value for sample in samples if (value := figure(sample)) is not None]
    return fmean(known) if known else None


def _example(samples: list[Sample]) -> Example:
    first = samples[0]
    return Example(
        first.problem,
        first.family,
        cut(first.prompt),
        None if first.reference is None else cut(first.reference),
        tuple(
            Answer(each.strategy, cut(each.text), each.score, each.reward, each.refusal) for each in samples
        ),
    )
