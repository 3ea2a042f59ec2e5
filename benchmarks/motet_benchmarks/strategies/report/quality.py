"""What plots hold strategies against each other by: a grader's score, or a judge's reward where there is no grader."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from motet_benchmarks.statistics import Interval
from motet_benchmarks.strategies.report import analysis, tables
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
    scores = {line.strategy: line.score for line in found.scored(task) if line.score is not None}
    if scores:
        marks = {
            name: Interval(100 * score.value, 100 * score.low, 100 * score.high)
            for name, score in scores.items()
        }
        return Quality(task, metric, marks, {figure: found.front(task, figure) for figure in COSTS}, True)
    rewards = {each.strategy: each.reward for each in found.likings if each.task == task}
    if not rewards:
        return None
    fronts = {figure: found.front(task, figure) or _front(found, task, figure, rewards) for figure in COSTS}
    return Quality(task, f"reward by {found.table.run.judge or 'a judge'}", rewards, fronts, False)


def _front(found: Analysis, task: str, figure: str, marks: Mapping[str, Interval]) -> list[str]:
    points = [(getattr(found.cost(task, name), figure).value, mark.value) for name, mark in marks.items()]
    return [name for name, best in zip(marks, analysis.front(points), strict=True) if best]
