"""Everything that a report says of a run, worked out once."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from motet_benchmarks.comparisons import NO_DIFFERENCE
from motet_benchmarks.statistics import Interval
from motet_benchmarks.strategies import figures
from motet_benchmarks.strategies.figures import Liking, Line, Table
from motet_benchmarks.strategies.reading import Recorded
from motet_benchmarks.strategies.records import Strategy
from motet_benchmarks.strategies.report.diversity import Diversity, diversities
from motet_benchmarks.strategies.report.latency import Latency, Measure, latencies
from motet_benchmarks.strategies.spending import Spending, costs

#: The most strategies that a plot with a curve or a bar for each one shows.
SHOWN = 7

#: The most points of one sweep that it shows while there are other strategies.
OF_SWEEP = 3

#: The part by which costs may differ and still count as equal.
ALIKE = 0.01


@dataclass(frozen=True, slots=True)
class Analysis:
    """A run with its figures."""

    recorded: Recorded
    table: Table
    lines: list[Line]
    families: list[Line]
    likings: list[Liking]
    costs: list[Spending]
    diversities: list[Diversity]
    latencies: list[Latency]

    def line(self, task: str, strategy: str) -> Line | None:
        """A strategy on all of a task; none where it has no answers to it."""
        return next((each for each in self.lines if (each.task, each.strategy) == (task, strategy)), None)

    def cost(self, task: str, strategy: str) -> Spending:
        """What an answer takes."""
        return next(each for each in self.costs if (each.task, each.strategy) == (task, strategy))

    def latency(self, task: str, strategy: str, measure: Measure) -> Latency | None:
        """One kind of its times; none where it wasn't measured."""
        key = task, strategy, measure.key
        return next(
            (each for each in self.latencies if (each.task, each.strategy, each.measure) == key), None
        )

    def scored(self, task: str) -> list[Line]:
        """The strategies with a score on a task."""
        return [each for each in self.lines if each.task == task and each.score is not None]

    def marks(self, task: str) -> dict[str, Interval]:
        """What strategies are ranked by: their scores, or their rewards on a task without a grader."""
        scores = {each.strategy: each.score for each in self.scored(task) if each.score is not None}
        return scores or {each.strategy: each.reward for each in self.likings if each.task == task}

    def ranked(self, task: str) -> dict[str, Interval]:
        """The marks of those that have answered as many of a task's problems as any, whom it is fair to rank."""
        answered = {each.strategy: each.problems for each in self.lines if each.task == task}
        most = max(answered.values(), default=0)
        return {name: mark for name, mark in self.marks(task).items() if answered[name] == most}

    def unfinished(self, task: str, strategy: str) -> str:
        """How many of a task's problems a strategy has answered, where it isn't all: "12 of 20"."""
        line = self.line(task, strategy)
        of = next(each.problems for each in self.table.run.tasks if each.name == task)
        return "" if line is None or line.problems >= of else f"{line.problems:,} of {of:,}"

    def named(self, task: str, strategy: str) -> str:
        """A strategy's name, with how many problems that is where it isn't all of them."""
        part = self.unfinished(task, strategy)
        return f"{strategy} ({part} problems)" if part else strategy

    def front(self, task: str, figure: str) -> list[str]:
        """Strategies that none beats in score, or in rewards without a grader, for about the same cost or less.

        `figure` names the cost, such as forwards. Of those with the same answers for the same cost it is the first, and
        none that has answered fewer problems than others.
        """
        ranked, twins = self.ranked(task), self.table.twins(task)
        points = [(getattr(self.cost(task, name), figure).value, mark.value) for name, mark in ranked.items()]
        best = [name for name, best in zip(ranked, front(points), strict=True) if best]
        groups: dict[str, str] = {}
        for name in best:
            groups.setdefault(twins.get(name, name), name)
        return list(groups.values())

    def shown(self, task: str) -> list[str]:
        """The strategies that crowded plots are kept to: the first, the front, then those that differ most.

        Of every kind there is one, of a sweep no more than three while there are others, and those come last that have
        the same answers as an earlier one.
        """
        present = [name for of, name in self.table.cells() if of == task]
        differing = [
            (-abs(each.over_first.difference.value), each.strategy)
            for each in self.scored(task) or self.likings
            if each.task == task and each.over_first is not None and each.over_first.verdict != NO_DIFFERENCE
        ]
        wanted = [
            self.table.first,
            *self.front(task, "forwards"),
            *(name for _, name in sorted(differing)),
            *present,
        ]
        twins = self.table.twins(task)
        order = sorted((name for name in dict.fromkeys(wanted) if name in present), key=twins.__contains__)
        own = [name for name in order if name not in twins]
        kinds: dict[tuple[bool, ...], str] = {}
        of_sweep: Counter[str] = Counter()
        few = []
        for name in own:
            strategy = self.strategy(name)
            kinds.setdefault(_kind(strategy), name)
            if strategy.sweep is not None:
                of_sweep[strategy.sweep] += 1
            if strategy.sweep is None or of_sweep[strategy.sweep] <= OF_SWEEP:
                few.append(name)
        chosen = list(dict.fromkeys([*own[:1], *kinds.values(), *few, *order]))[:SHOWN]
        return [name for name in order if name in chosen]

    def strategy(self, name: str) -> Strategy:
        """As it was asked for."""
        return next(each for each in self.table.run.strategies if each.name == name)

    def facts(self) -> dict[str, Any]:
        """As JSON holds it."""
        run = self.table.run
        return {
            "run": run.model_dump(mode="json"),
            "answers": self.recorded.answers,
            "expected": self.recorded.expected(),
            "first": self.table.first,
            "lines": [_fact(each) for each in self.lines],
            "families": [_fact(each) for each in self.families],
            "rewards": [_fact(each) for each in self.likings],
            "costs": [asdict(each) for each in self.costs],
            "twins": {task: self.table.twins(task) for task in self.table.tasks},
            "diversity": [asdict(each) for each in self.diversities],
            "latency": [asdict(each) for each in self.latencies],
            "fronts": {
                task: {figure: self.front(task, figure) for figure in ("forwards", "generated")}
                for task in self.table.tasks
            },
        }


def analyse(recorded: Recorded) -> Analysis:
    """All figures of a run."""
    table = Table(recorded.run, recorded.samples)
    return Analysis(
        recorded,
        table,
        figures.lines(table),
        figures.lines(table, families=True),
        figures.likings(table),
        costs(table),
        diversities(table),
        latencies(table),
    )


def front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Of each (cost, value) whether no other is as cheap and better, or cheaper and as good: the Pareto front.

    What costs a hundredth more is as cheap, so that of nearly equal costs the best value is there alone.
    """
    return [
        not any(
            (other[0] <= own[0] * (1 + ALIKE) and other[1] > own[1])
            or (other[0] < own[0] and other[1] >= own[1])
            for other in points
        )
        for own in points
    ]


def _kind(strategy: Strategy) -> tuple[bool, ...]:
    """Whether it chooses among candidates, hears another voice, and asks another model."""
    return strategy.best_of is not None, bool(strategy.contrast), strategy.model is not None


def _fact(each: Line | Liking) -> dict[str, Any]:
    fact = {**asdict(each), "verdict": None if each.over_first is None else each.over_first.verdict}
    if each.over_first is not None:
        # JSON has no infinite number.
        bounds = fact["over_first"]["difference"]
        bounds |= {name: None for name in ("low", "high") if math.isinf(bounds[name])}
    return fact
