"""The figures of a run, worked out from its samples: scores, rewards, texts, costs and latency of each strategy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter

from motet_benchmarks.comparisons import Comparison, Tested, corrected, paired
from motet_benchmarks.statistics import Interval, means, share
from motet_benchmarks.strategies.records import Run, Sample
from motet_benchmarks.strategies.winning import Pair, by_reward, pairs, win_rates

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
    """The share of pairs with the first strategy's answer to the same problem in which this one's reward is higher, a
    tie counting half; none for the first itself."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What an answer of one strategy to one task takes, on average over problems."""

    task: str
    strategy: str
    answers: int
    """Refused problems are none, here and in all that follows."""
    refused: int
    """Problems that the endpoint refused, draw by draw."""
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
        self._samples = tuple(samples)
        self._cells: dict[tuple[str, str], dict[str, list[Sample]]] = {}
        for sample in self._samples:
            cell = self._cells.setdefault((sample.task, sample.strategy), {})
            cell.setdefault(sample.problem, []).append(sample)

    @property
    def first(self) -> str:
        """The strategy that others are compared with: the first that the endpoint serves."""
        return self.strategies[0]

    def cells(self) -> list[tuple[str, str]]:
        """Tasks and strategies with an answer, in the run's order."""
        return [(task, name) for task in self.tasks for name in self.strategies if self.each(task, name)]

    def refused(self, task: str, strategy: str) -> list[Sample]:
        """The problems that the endpoint refused, draw by draw."""
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

    def pairs(self) -> list[Pair]:
        """Every strategy's answers beside the first's."""
        served = [strategy for strategy in self.run.strategies if strategy.name in self.strategies]
        return pairs(self.run.model_copy(update={"strategies": tuple(served)}), self._samples)

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
    intervals = together([rewards[cell] for cell in cells])
    return [
        Liking(*cell, interval, comparison, rates.get(cell))
        for cell, interval, comparison in zip(cells, intervals, tests, strict=True)
    ]


def answered(figure: Callable[[Sample], float]) -> Callable[[Sample], float | None]:
    """A figure that a refused problem doesn't have; of those it has a score alone."""
    return lambda sample: figure(sample) if sample.refusal is None else None


#: What a cost is made of: counts of tokens, and shares of answers.
_TOKENS = tuple(
    answered(attrgetter(name))
    for name in ("prompt_tokens", "answer_tokens", "generated", "scored", "forwards")
)
_SHARES = (answered(attrgetter("declined")), answered(lambda sample: sample.finish == "length"))


def costs(table: Table) -> list[Cost]:
    """What every strategy takes on every task."""
    cells = table.cells()
    tokens, shares = (
        [list(table.averaged(*cell, figure).values()) for cell in cells for figure in figures]
        for figures in (_TOKENS, _SHARES)
    )
    counts = iter(together(tokens))
    parts = (interval for interval, _ in scored(shares) if interval is not None)
    found = []
    for cell in cells:
        seconds = [sample.seconds for sample in table.each(*cell)]
        figures = [*(next(counts) for _ in _TOKENS), *(next(parts) for _ in _SHARES)]
        found.append(Cost(*cell, len(seconds), len(table.refused(*cell)), sum(seconds), *figures))
    return found


def scored(columns: Sequence[Sequence[float]]) -> list[tuple[Interval | None, str]]:
    """The mean of each column of problems' scores and how its interval was found; none of an empty column."""
    counted = [bool(column) and all(value in (0.0, 1.0) for value in column) for column in columns]
    rest = iter(
        together([column for column, each in zip(columns, counted, strict=True) if column and not each])
    )
    found: list[tuple[Interval | None, str]] = []
    for column, each in zip(columns, counted, strict=True):
        if each:
            right = share([value == 1.0 for value in column])
            found.append((Interval(right.value, right.low, right.high), WILSON))
        else:
            found.append((next(rest), BOOTSTRAP) if column else (None, ""))
    return found


def together(columns: Sequence[Sequence[float]]) -> list[Interval]:
    """The means of columns of any lengths, those of one length resampled together since that takes its time."""
    found: dict[int, Interval] = {}
    for length in {len(column) for column in columns}:
        places = [place for place, column in enumerate(columns) if len(column) == length]
        found.update(zip(places, means([columns[place] for place in places]), strict=True))
    return [found[place] for place in range(len(columns))]


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
