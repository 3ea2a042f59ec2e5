"""The figures of a run, worked out from its samples: scores, rewards, texts, costs and latency of each strategy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from motet_benchmarks.comparisons import Comparison, Tested, corrected, paired
from motet_benchmarks.statistics import Interval, means, share
from motet_benchmarks.strategies.records import Run, Sample

WILSON, BOOTSTRAP = "Wilson", "bootstrap"


@dataclass(frozen=True, slots=True)
class Line:
    """How well one strategy answers one task, or one family of it."""

    task: str
    strategy: str
    family: str | None
    """None for all of the task's problems."""
    problems: int
    answers: int
    score: Interval | None
    """From 0 to 1; none where the task has no grader."""
    interval: str
    """How the score's interval was found: Wilson's where each problem is right or wrong once, else the bootstrap's."""
    over_first: Comparison | None
    """The score less the first strategy's on the same problems; none for the first itself."""


@dataclass(frozen=True, slots=True)
class Liking:
    """What a judge's rewards say of one strategy on one task."""

    task: str
    strategy: str
    reward: Interval
    over_first: Comparison | None
    wins: Interval | None
    """The share of pairs with an answer of the first strategy to the same problem in which this one's reward is higher,
    a tie counting half; none for the first itself."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What an answer of one strategy to one task takes, on average over problems."""

    task: str
    strategy: str
    answers: int
    seconds: float
    """All answers' times added up."""
    prompt: Interval
    tokens: Interval
    """Of the answer that was returned."""
    generated: Interval
    scored: Interval
    forwards: Interval
    declined: Interval
    """The share of answers."""
    cut: Interval
    """The share of answers that the limit of tokens ended."""


class Table:
    """The samples of a run, at least one, by task, strategy and problem."""

    def __init__(self, run: Run, samples: Iterable[Sample]) -> None:
        self.run = run
        self.tasks = [task.name for task in run.tasks]
        self.strategies = [strategy.name for strategy in run.strategies if strategy.name not in run.refused]
        self._cells: dict[tuple[str, str], dict[str, list[Sample]]] = {}
        for sample in samples:
            cell = self._cells.setdefault((sample.task, sample.strategy), {})
            cell.setdefault(sample.problem, []).append(sample)

    @property
    def first(self) -> str:
        """The strategy that others are compared with: the first that the endpoint serves."""
        return self.strategies[0]

    def cells(self) -> list[tuple[str, str]]:
        """Tasks and strategies with an answer, in the run's order."""
        return [
            (task, name) for task in self.tasks for name in self.strategies if (task, name) in self._cells
        ]

    def families(self, task: str) -> list[str]:
        """The task's kinds of problems, as they are met."""
        return list(
            dict.fromkeys(
                answers[0].family
                for (of, _), cell in self._cells.items()
                if of == task
                for answers in cell.values()
            )
        )

    def answers(self, task: str, strategy: str) -> dict[str, list[Sample]]:
        """By problem; empty where there are none."""
        return self._cells.get((task, strategy), {})

    def each(self, task: str, strategy: str) -> list[Sample]:
        """All answers."""
        return [sample for answers in self.answers(task, strategy).values() for sample in answers]

    def averaged(
        self, task: str, strategy: str, figure: Callable[[Sample], float | None], family: str | None = None
    ) -> dict[str, float]:
        """By problem the mean over its draws; problems with a draw that has no such figure are left out."""
        found = {}
        for problem, answers in self.answers(task, strategy).items():
            if family is not None and answers[0].family != family:
                continue
            values = [figure(sample) for sample in answers]
            known = [value for value in values if value is not None]
            if len(known) == len(values):
                found[problem] = sum(known) / len(known)
        return found


def score(sample: Sample) -> float | None:
    """By the task's grader."""
    return sample.score


def reward(sample: Sample) -> float | None:
    """By the run's judge."""
    return sample.reward


def lines(table: Table, *, families: bool = False) -> list[Line]:
    """Every strategy's score on every task, or on every family; their comparisons are corrected as one set."""
    wanted: list[tuple[str, str, str | None]] = [
        (task, name, family)
        for task, name in table.cells()
        for family in (table.families(task) if families else [None])
    ]
    found, tests = [], []
    for task, name, family in wanted:
        scores = table.averaged(task, name, score, family)
        answers = [sample for sample in table.each(task, name) if family is None or sample.family == family]
        if not answers:
            continue
        interval, how = mean(list(scores.values())) if scores else (None, "")
        problems = len({sample.problem for sample in answers})
        found.append(Line(task, name, family, problems, len(answers), interval, how, None))
        tests.append(_against_first(table, task, name, score, family))
    return [
        Line(
            each.task, each.strategy, each.family, each.problems, each.answers, each.score, each.interval, comparison
        )
        for each, comparison in zip(found, _corrected(tests), strict=True)
    ]  # fmt: skip


def likings(table: Table) -> list[Liking]:
    """Every strategy's rewards on every task that a judge gave some."""
    found, tests = [], []
    for task, name in table.cells():
        rewards = list(table.averaged(task, name, reward).values())
        if rewards:
            found.append((task, name, means([rewards])[0], _wins(table, task, name)))
            tests.append(_against_first(table, task, name, reward))
    return [
        Liking(task, name, figure, comparison, wins)
        for (task, name, figure, wins), comparison in zip(found, _corrected(tests), strict=True)
    ]


def costs(table: Table) -> list[Cost]:
    """What every strategy takes on every task."""
    figures: tuple[Callable[[Sample], float], ...] = (
        lambda sample: sample.prompt_tokens,
        lambda sample: sample.answer_tokens,
        lambda sample: sample.generated,
        lambda sample: sample.scored,
        lambda sample: sample.forwards,
        lambda sample: sample.declined,
        lambda sample: sample.finish == "length",
    )
    found = []
    for task, name in table.cells():
        columns = [list(table.averaged(task, name, figure).values()) for figure in figures]
        answers = table.each(task, name)
        seconds = sum(sample.seconds for sample in answers)
        found.append(Cost(task, name, len(answers), seconds, *means(columns)))
    return found


def mean(values: Sequence[float]) -> tuple[Interval, str]:
    """The mean of problems' scores and how its interval was found. Raises ValueError without any."""
    if all(value in (0.0, 1.0) for value in values):
        found = share([value == 1.0 for value in values])
        return Interval(found.value, found.low, found.high), WILSON
    return means([values])[0], BOOTSTRAP


def _against_first(
    table: Table, task: str, name: str, figure: Callable[[Sample], float | None], family: str | None = None
) -> Tested | None:
    """None for the first strategy itself, and where no problem has the figure of both."""
    if name == table.first:
        return None
    own, first = (table.averaged(task, each, figure, family) for each in (name, table.first))
    shared = [problem for problem in first if problem in own]
    if not shared:
        return None
    return paired(
        [own[problem] for problem in shared], [first[problem] for problem in shared], seed=table.run.seed
    )


def _corrected(tests: Sequence[Tested | None]) -> list[Comparison | None]:
    compared = iter(corrected([test for test in tests if test is not None]))
    return [None if test is None else next(compared) for test in tests]


def _wins(table: Table, task: str, name: str) -> Interval | None:
    if name == table.first:
        return None
    own, first = table.answers(task, name), table.answers(task, table.first)
    won = []
    for problem, answers in own.items():
        pairs = [
            (one.reward, other.reward)
            for one in answers
            for other in first.get(problem, ())
            if one.reward is not None and other.reward is not None
        ]
        if pairs:
            won.append(sum(0.5 * (one >= other) + 0.5 * (one > other) for one, other in pairs) / len(pairs))
    return means([won])[0] if won else None
