"""The page that says which differences of two runs are noise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from motet_benchmarks.comparisons import LEVEL
from motet_benchmarks.results import Grid, marked
from motet_benchmarks.statistics import Interval
from motet_benchmarks.strategies.compare import Change, changes, differing
from motet_benchmarks.strategies.reading import read
from motet_benchmarks.strategies.report.tables import p_value, signed
from motet_benchmarks.strategies.report.writing import replace

FILE = "compare.md"


def compare(before: Path, after: Path, out: Path) -> tuple[list[Grid], list[Path]]:
    """Compare the runs in two folders and write compare.md into `out`; returns the tables in it and its path.

    Raises BenchmarkError where a folder holds no run, or the runs have nothing in common.
    """
    first, second = read(before), read(after)
    found = changes(first, second)
    grids = [grid(task, found) for task in dict.fromkeys(each.task for each in found)]
    notes = differing(first, second)
    page = "\n\n".join(
        [
            "# Two runs",
            f"`{before}` and then `{after}`. Differences are the second less the first, with 95% intervals.",
            "Apart from chance they differ in this:" if notes else "They were asked alike on the same machine.",
            "\n".join(f"- {marked(note)}" for note in notes),
            *(text for each in grids for text in (f"## {marked(each.title)}", each.markdown())),
            "Where both runs have the same problems, at least half of either's, they are compared problem by problem, "
            "else mean by mean. p-values are two-sided and corrected for the number of comparisons of the same figure "
            f"by Benjamini and Hochberg; what stays above {LEVEL:g} is called noise. Seconds also differ by what else "
            "a machine does at the time, which no test of one run against another can tell from a change.",
            "Intervals of differences are Bonett and Price's where every problem is right or wrong, Newcombe's of "
            "other scores and of different problems, and Student's or Welch's of other figures; a question mark is a "
            "bound that the problems say nothing of.",
        ]
    )  # fmt: skip
    return grids, replace(out, {FILE: page.replace("\n\n\n\n", "\n\n") + "\n"})


def grid(task: str, found: Sequence[Change]) -> Grid:
    """One task's changes, strategy by strategy."""
    own = [each for each in found if each.task == task]
    names = list(dict.fromkeys(each.strategy for each in own))
    return Grid(
        f"{task}: what changed [95% interval]",
        ("strategy", "figure", "first", "second", "difference", "p", "corrected p", "verdict", "problems"),
        tuple(
            (
                each.strategy,
                each.figure.title,
                _shown(each.before, each.figure.scale),
                _shown(each.after, each.figure.scale),
                _difference(each),
                p_value(each.comparison.p),
                p_value(each.comparison.corrected),
                each.verdict,
                f"{each.comparison.problems:,} {'pairs' if each.pairs else 'in all, unpaired'}",
            )
            for each in sorted(own, key=lambda each: names.index(each.strategy))
        ),
    )


def _shown(found: Interval, scale: float) -> str:
    value, low, high = (scale * each for each in (found.value, found.low, found.high))
    digits = _digits(value)
    return f"{value:,.{digits}f} [{low:,.{digits}f}, {high:,.{digits}f}]"


def _difference(each: Change) -> str:
    scale, found = each.figure.scale, each.comparison.difference
    value, low, high = (scale * bound for bound in (found.value, found.low, found.high))
    digits = max(_digits(scale * each.before.value), _digits(scale * each.after.value))
    return f"{value:+,.{digits}f} [{signed(low, digits)}, {signed(high, digits)}]"


def _digits(value: float) -> int:
    return 1 if abs(value) >= 10 else 2 if abs(value) >= 0.1 else 3
