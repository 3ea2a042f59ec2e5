"""The figures of a run, worked out from its samples: scores and rewards of each strategy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from motet_benchmarks.comparisons import Comparison, Tested, corrected, paired
from motet_benchmarks.statistics import Interval, binary, mean, mean_share
from motet_benchmarks.strategies.records import Run, Sample
from motet_benchmarks.strategies.winning import Pair, by_reward, pairs, win_rates

WILSON, EFFECTIVE = "Wilson", "Wilson, effective number of problems"


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
    """How the score's interval was found: Wilson's, of the problems' number where each is right or wrong once, else of
    the effective one; nothing without a score."""
    over_first: Comparison | None
    """The score less the first strategy's on the same problems; none for the first itself."""


@dataclass(frozen=True, slots=True)
class Liking:
    """What a judge's rewards say of one strategy on one task."""

    task: str
    strategy: str
    problems: int
    """Those with a reward, of however many draws."""
    missing: int
    """Answers without one, refused problems among them; they are in no figure here."""
    answers: int
    """With a reward or without."""
    reward: Interval
    over_first: Comparison | None
    wins: Interval | None
    """The share of pairs with the first strategy's answer to the same problem in which this one's reward is higher, a
    tie counting half; none for the first itself."""


class Table:
    """The samples of a run, at least one, by task, strategy and problem."""

    def __init__(self, run: Run, samples: Iterable[Sample]) -> None:
        self.run = run
        self.tasks = [task.name for task in run.tasks]
        self.strategies = [strategy.name for strategy in run.strategies if strategy.name not in run.refused]
        self._samples = tuple(samples)
        self._cells: dict[tuple[str, str], dict[str, list[Sample]]] = {}
        for sample in self._samples:
            cell = self._cells.setdefault((sample.task, sample.strategy), {})
            cell.setdefault(sample.problem, []).append(sample)
        self._unserved: dict[tuple[str, str], list[Sample]] = {}
        for of, answers in [*self._cells.items()]:
            samples = [sample for each in answers.values() for sample in each]
            if all(sample.refusal is not None for sample in samples):
                # A task of which every problem is refused isn't served, and stands in no figure.
                self._unserved[of] = samples
                del self._cells[of]

    @property
    def first(self) -> str:
        """The strategy that others are compared with: the first that the endpoint serves."""
        return self.strategies[0]

    def cells(self) -> list[tuple[str, str]]:
        """Tasks and strategies with an answer, in the run's order."""
        return [(task, name) for task in self.tasks for name in self.strategies if self.each(task, name)]

    def refused(self, task: str, strategy: str) -> list[Sample]:
        """The problems that the endpoint refused, draw by draw."""
        if (task, strategy) in self._unserved:
            return self._unserved[task, strategy]
        found = self.answers(task, strategy).values()
        return [sample for answers in found for sample in answers if sample.refusal is not None]

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
        """All answers, refused problems left out."""
        return [
            sample
            for answers in self.answers(task, strategy).values()
            for sample in answers
            if sample.refusal is None
        ]

    def twins(self, task: str) -> dict[str, str]:
        """Strategies whose answers to a task are an earlier one's to the word and score, and that one."""
        said: dict[frozenset[tuple[str, int, str, float | None]], str] = {}
        found = {}
        for of, name in self.cells():
            if of == task:
                words = frozenset(
                    (each.problem, each.draw, each.text, each.score) for each in self.each(task, name)
                )
                if said.setdefault(words, name) != name:
                    found[name] = said[words]
        return found

    def pairs(self) -> list[Pair]:
        """Every strategy's answers beside the first's."""
        served = [strategy for strategy in self.run.strategies if strategy.name in self.strategies]
        return pairs(self.run.model_copy(update={"strategies": tuple(served)}), self._samples)

    def averaged(
        self, task: str, strategy: str, figure: Callable[[Sample], float | None], family: str | None = None
    ) -> dict[str, float]:
        """By problem the mean over those of its draws that have the figure; problems without one are left out."""
        found = {}
        for problem, answers in self.answers(task, strategy).items():
            if family is not None and answers[0].family != family:
                continue
            known = [value for sample in answers if (value := figure(sample)) is not None]
            if known:
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
    columns, tests, counts = [], [], []
    for task, name, family in wanted:
        answers = [
            sample
            for samples in table.answers(task, name).values()
            for sample in samples
            if family in (None, sample.family)
        ]
        counts.append((len({sample.problem for sample in answers}), len(answers)))
        columns.append(list(table.averaged(task, name, score, family).values()))
        tests.append(_against_first(table, task, name, score, family))
    return [
        Line(*cell, *count, *interval, comparison)
        for cell, count, interval, comparison in zip(
            wanted, counts, scored(columns), _corrected(tests), strict=True
        )
        if count[0]
    ]


def likings(table: Table) -> list[Liking]:
    """Every strategy's rewards on every task that a judge gave some."""
    rewards = {cell: list(table.averaged(*cell, reward).values()) for cell in table.cells()}
    cells = [cell for cell, values in rewards.items() if values]
    rates = {(rate.task, rate.strategy): rate.rate for rate in win_rates(by_reward(table.pairs()))}
    tests = _corrected([_against_first(table, *cell, reward) for cell in cells])
    found = []
    for cell, comparison in zip(cells, tests, strict=True):
        given = [sample.reward is not None for samples in table.answers(*cell).values() for sample in samples]
        counts = len(rewards[cell]), given.count(False), len(given)
        found.append(Liking(*cell, *counts, mean(rewards[cell]), comparison, rates.get(cell)))
    return found


def answered(figure: Callable[[Sample], float]) -> Callable[[Sample], float | None]:
    """A figure that a refused problem doesn't have; of those it has a score alone."""
    return lambda sample: figure(sample) if sample.refusal is None else None


def scored(columns: Sequence[Sequence[float]]) -> list[tuple[Interval | None, str]]:
    """The mean of each column of problems' scores and how its interval was found; none of an empty column."""
    return [
        (mean_share(column), WILSON if binary(column) else EFFECTIVE) if column else (None, "")
        for column in columns
    ]


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
        [own[problem] for problem in shared],
        [first[problem] for problem in shared],
        seed=table.run.seed,
        shares=figure is score,
    )


def _corrected(tests: Sequence[Tested | None]) -> list[Comparison | None]:
    compared = iter(corrected([test for test in tests if test is not None]))
    return [None if test is None else next(compared) for test in tests]
