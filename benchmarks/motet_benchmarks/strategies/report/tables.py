"""The report's tables."""

from __future__ import annotations

from motet_benchmarks.comparisons import Comparison
from motet_benchmarks.results import Grid
from motet_benchmarks.statistics import Interval
from motet_benchmarks.strategies.figures import Cost, Liking, Line

NONE = "–"


def quality(task: str, metric: str, first: str, lines: list[Line]) -> Grid:
    """Scores on one task."""
    return Grid(
        f"{task}: {metric} in % [95% interval]",
        ("strategy", "problems", "answers", metric, f"over {first}, points", "p", "corrected", "verdict"),
        tuple(
            (
                line.strategy,
                f"{line.problems:,}",
                f"{line.answers:,}",
                NONE if line.score is None else percent(line.score),
                *compared(line.over_first, 100),
            )
            for line in lines
            if line.task == task
        ),
    )


def liking(task: str, judge: str, first: str, found: list[Liking]) -> Grid:
    """Rewards on one task."""
    return Grid(
        f"{task}: rewards by {judge} [95% interval]",
        ("strategy", "reward", f"wins against {first}, %", f"over {first}", "p", "corrected", "verdict"),
        tuple(
            (
                each.strategy,
                figure(each.reward),
                NONE if each.wins is None else percent(each.wins),
                *compared(each.over_first, 1),
            )
            for each in found
            if each.task == task
        ),
    )


def cost(task: str, found: list[Cost]) -> Grid:
    """What an answer takes."""
    return Grid(
        f"{task}: tokens and time of an answer, mean over problems [95% interval]",
        (
            "strategy",
            "answer",
            "generated",
            "scored",
            "forwards",
            "declined, %",
            "cut off, %",
            "seconds, all",
        ),
        tuple(
            (
                each.strategy,
                figure(each.tokens),
                figure(each.generated),
                figure(each.scored),
                figure(each.forwards),
                percent(each.declined),
                percent(each.cut),
                f"{each.seconds:,.1f}",
            )
            for each in found
            if each.task == task
        ),
    )


def compared(found: Comparison | None, scale: float) -> tuple[str, str, str, str]:
    """Difference, p-value, the corrected one, and the verdict; dashes for the first strategy."""
    if found is None:
        return NONE, NONE, NONE, NONE
    each = found.difference
    digits = 1 if scale == 100 else 2
    difference = (
        f"{scale * each.value:+.{digits}f} [{scale * each.low:+.{digits}f}, {scale * each.high:+.{digits}f}]"
    )
    return difference, p_value(found.p), p_value(found.corrected), found.verdict


def percent(found: Interval) -> str:
    """A share and its interval."""
    return f"{100 * found.value:.1f} [{100 * found.low:.1f}, {100 * found.high:.1f}]"


def figure(found: Interval) -> str:
    """A figure and its interval, three digits where it is small."""
    digits = 0 if abs(found.value) >= 100 else 1 if abs(found.value) >= 10 else 2
    return f"{found.value:,.{digits}f} [{found.low:,.{digits}f}, {found.high:,.{digits}f}]"


def p_value(p: float) -> str:
    """Never shown as 0."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
