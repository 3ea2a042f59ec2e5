"""What plots hold strategies against each other by: a grader's score, or a judge's reward where there is no grader."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from motet_benchmarks.statistics import Interval
from motet_benchmarks.strategies.report import tables
from motet_benchmarks.strategies.report.analysis import Analysis

#: The cost figures that quality is plotted against, and what an axis calls them.
COSTS = {"forwards": "tokens computed for an answer", "generated": "tokens generated for an answer"}


@dataclass(frozen=True, slots=True)
class Quality:
    """How good each strategy is on one task."""

    task: str
    metric: str
    """Such as accuracy, or a reward."""
    marks: Mapping[str, Interval]
    """By strategy, as an axis shows them; at least one."""
    fronts: Mapping[str, list[str]]
    """By cost figure the strategies that none beats in quality at no higher cost."""
    graded: bool
    """Whether marks are scores, in percent."""

    @property
    def title(self) -> str:
        """For the beginning of a sentence."""
        return self.metric[:1].upper() + self.metric[1:]

    @property
    def axis(self) -> str:
        """With its unit."""
        return f"{self.metric}, %" if self.graded else self.metric

    def said(self, strategy: str) -> str:
        """A strategy's mark with its interval."""
        mark = self.marks[strategy]
        if not self.graded:
            return tables.figure(mark)
        return f"{mark.value:.1f} [{mark.low:.1f}, {mark.high:.1f}] %"

    def brief(self, value: float) -> str:
        """A mark alone."""
        return f"{value:.1f} %" if self.graded else f"{value:.2f}"


def quality(found: Analysis, task: str, metric: str) -> Quality | None:
    """The scores on a task or else the rewards; none where there are neither."""
    marks, graded = found.marks(task), bool(found.scored(task))
    if not marks:
        return None
    if graded:
        marks = {
            name: Interval(100 * mark.value, 100 * mark.low, 100 * mark.high) for name, mark in marks.items()
        }
    else:
        metric = f"reward by {found.table.run.judge or 'a judge'}"
    return Quality(task, metric, marks, {figure: found.front(task, figure) for figure in COSTS}, graded)
