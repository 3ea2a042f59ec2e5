"""Everything that a report says of a run, worked out once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from motet_benchmarks.comparisons import NO_DIFFERENCE
from motet_benchmarks.strategies import figures
from motet_benchmarks.strategies.figures import Cost, Liking, Line, Table
from motet_benchmarks.strategies.reading import Recorded
from motet_benchmarks.strategies.records import Strategy
from motet_benchmarks.strategies.report.diversity import Diversity, diversities
from motet_benchmarks.strategies.report.latency import Latency, Measure, latencies

#: The most strategies that a plot with a curve or a bar for each one shows.
SHOWN = 7


@dataclass(frozen=True, slots=True)
class Analysis:
    """A run with its figures."""

    recorded: Recorded
    table: Table
    lines: list[Line]
    families: list[Line]
    likings: list[Liking]
    costs: list[Cost]
    diversities: list[Diversity]
    latencies: list[Latency]

    def line(self, task: str, strategy: str) -> Line | None:
        """A strategy on all of a task; none where it has no answers to it."""
        return next((each for each in self.lines if (each.task, each.strategy) == (task, strategy)), None)

    def cost(self, task: str, strategy: str) -> Cost:
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

    def front(self, task: str, figure: str) -> list[str]:
        """Strategies that none beats in score at no higher cost; `figure` names the cost, such as forwards."""
        lines = self.scored(task)
        points = [
            (getattr(self.cost(task, each.strategy), figure).value, each.score.value)
            for each in lines
            if each.score is not None
        ]
        return [each.strategy for each, best in zip(lines, front(points), strict=True) if best]

    def shown(self, task: str) -> list[str]:
        """The strategies that crowded plots are kept to: the first, the front, then those that differ most."""
        present = [name for of, name in self.table.cells() if of == task]
        differing = [
            (-abs(each.over_first.difference.value), each.strategy)
            for each in self.scored(task)
            if each.over_first is not None and each.over_first.verdict != NO_DIFFERENCE
        ]
        wanted = [
            self.table.first,
            *self.front(task, "forwards"),
            *(name for _, name in sorted(differing)),
            *present,
        ]
        return [name for name in dict.fromkeys(wanted) if name in present][:SHOWN]

    def strategy(self, name: str) -> Strategy:
        """As it was asked for."""
        return next(each for each in self.table.run.strategies if each.name == name)

    def facts(self) -> dict[str, Any]:
        """As JSON holds it."""
        run = self.table.run
        return {
            "run": run.model_dump(mode="json"),
            "answers": len(self.recorded.samples),
            "expected": self.recorded.expected(),
            "first": self.table.first,
            "lines": [_fact(each) for each in self.lines],
            "families": [_fact(each) for each in self.families],
            "rewards": [_fact(each) for each in self.likings],
            "costs": [asdict(each) for each in self.costs],
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
        figures.costs(table),
        diversities(table),
        latencies(table),
    )


def front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Of each (cost, value) whether no other is as cheap and better, or cheaper and as good: the Pareto front."""
    return [
        not any(
            (other[0] <= own[0] and other[1] > own[1]) or (other[0] < own[0] and other[1] >= own[1])
            for other in points
        )
        for own in points
    ]


def _fact(each: Line | Liking) -> dict[str, Any]:
    return {**asdict(each), "verdict": None if each.over_first is None else each.over_first.verdict}
