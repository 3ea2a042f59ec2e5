"""Two runs beside each other: which of their differences are noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from motet_benchmarks.comparisons import Comparison, Tested, corrected, paired, unpaired
from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.statistics import Interval, means
from motet_benchmarks.strategies.figures import Table, answered, reward, score, scored
from motet_benchmarks.strategies.reading import Recorded
from motet_benchmarks.strategies.records import Sample

#: The part of either run's problems that both must have for these alone to be compared, pair by pair.
ENOUGH = 0.5


@dataclass(frozen=True, slots=True)
class Figure:
    """What two runs are compared in, one of a sample's figures."""

    title: str
    of: Callable[[Sample], float | None]
    scale: float = 1.0
    """What a table shows it times."""


SCORE = Figure("score, %", score, 100)
FIGURES = (
    SCORE,
    Figure("reward", reward),
    Figure("tokens returned", answered(lambda sample: sample.answer_tokens)),
    Figure("tokens generated", answered(lambda sample: sample.generated)),
    Figure("forwards", answered(lambda sample: sample.forwards)),
    Figure("seconds", answered(lambda sample: sample.seconds)),
)


@dataclass(frozen=True, slots=True)
class Change:
    """One figure of one strategy on one task in both runs."""

    task: str
    strategy: str
    figure: Figure
    before: Interval
    after: Interval
    comparison: Comparison
    """After less before."""
    pairs: bool
    """Whether problem by problem; else the runs' problems differ and their means are compared."""

    @property
    def verdict(self) -> str:
        """Higher or lower where that is more than noise."""
        if self.comparison.clear:
            return "higher" if self.comparison.difference.value > 0 else "lower"
        return "noise"


def changes(before: Recorded, after: Recorded) -> list[Change]:
    """Every figure that both runs have; the comparisons of each figure are corrected as one set.

    Raises BenchmarkError where no strategy has answered a task of the same name in both.
    """
    tables = Table(before.run, before.samples), Table(after.run, after.samples)
    cells = [cell for cell in tables[0].cells() if cell in tables[1].cells()]
    if not cells:
        one, other = ("; ".join(f"{name} on {task}" for task, name in table.cells()) for table in tables)
        raise BenchmarkError(
            f"no strategy has answered a task in both runs: the first has {one}, the second {other}"
        )
    found = []
    for figure in FIGURES:
        measured = [(cell, both) for cell in cells if (both := _measured(tables, cell, figure)) is not None]
        tests = corrected([both.test for _, both in measured])
        found += [
            Change(*cell, figure, both.before, both.after, test, both.pairs)
            for (cell, both), test in zip(measured, tests, strict=True)
        ]
    return found


def differing(first: Recorded, second: Recorded) -> list[str]:
    """What the runs were not asked alike, and what one of them lacks, each in a few words."""
    before, after = first.run, second.run
    said = [
        f"{name}: {one}, then {other}"
        for name in (
            "model",
            "draws",
            "judge",
            "seed",
            "tokens",
            "url",
            "server",
            "concurrency",
            "warm_up",
            "stream",
            "salted",
        )
        if (one := getattr(before, name)) != (other := getattr(after, name))
    ]
    for which, found in (("first", first), ("second", second)):
        said += [f"the {which} has not one sitting: {what}" for what in found.run.changed]
        other = (second if found is first else first).run.refused
        said += [
            f"{name} was refused in the {which} alone: {why}"
            for name, why in found.run.refused.items()
            if name not in other
        ]
        if found.answers < found.expected():
            said.append(f"the {which} isn't complete: {found.answers:,} of {found.expected():,} answers")
    for kind in ("cpu", "cores", "gpus", "versions"):
        one, other = (run.circumstances.get(kind) for run in (before, after))
        if one != other:
            said.append(f"{kind}: {one}, then {other}")
    asked = {each.name: each for each in before.strategies}
    said += [
        f"{each.name} isn't the same strategy in both"
        for each in after.strategies
        if each.name in asked and asked[each.name] != each
    ]
    digests = {task.name: task.digest for task in before.tasks}
    said += [
        f"{task.name} hasn't the same problems and grader in both"
        for task in after.tasks
        if digests.get(task.name, task.digest) != task.digest
    ]
    for name, one, other in (("only the first", before, after), ("only the second", after, before)):
        for kind in ("strategies", "tasks"):
            known = {each.name for each in getattr(other, kind)}
            if alone := [each.name for each in getattr(one, kind) if each.name not in known]:
                said.append(f"{name} has {', '.join(alone)}")
    return said


@dataclass(frozen=True, slots=True)
class _Both:
    before: Interval
    after: Interval
    test: Tested
    pairs: bool


def _measured(tables: tuple[Table, Table], cell: tuple[str, str], figure: Figure) -> _Both | None:
    """None where one of the runs hasn't the figure."""
    before, after = (table.averaged(*cell, figure.of) for table in tables)
    if not before or not after:
        return None
    same = [problem for problem in before if problem in after and _alike(tables, cell, problem)]
    pairs = len(same) >= ENOUGH * max(len(before), len(after))
    if pairs:
        one, other = ([values[problem] for problem in same] for values in (before, after))
    else:
        one, other = list(before.values()), list(after.values())
    test = (paired if pairs else unpaired)(other, one, seed=tables[0].run.seed, shares=figure is SCORE)
    return _Both(_mean(one, figure), _mean(other, figure), test, pairs)


def _alike(tables: tuple[Table, Table], cell: tuple[str, str], problem: str) -> bool:
    """Whether an id stands for the same problem in both runs."""
    one, other = (table.answers(*cell)[problem][0] for table in tables)
    return (one.context, one.prompt, one.reference) == (other.context, other.prompt, other.reference)


def _mean(values: Sequence[float], figure: Figure) -> Interval:
    found = scored([values])[0][0] if figure is SCORE else None
    return means([values])[0] if found is None else found
