"""The report's tables."""

from __future__ import annotations

import math

from motet_benchmarks.comparisons import BETTER, WORSE, Comparison
from motet_benchmarks.results import Grid
from motet_benchmarks.statistics import Interval
from motet_benchmarks.strategies.report.analysis import Analysis
from motet_benchmarks.strategies.report.latency import MEASURES, SECONDS, Quantile
from motet_benchmarks.strategies.spending import Spending

NONE = "–"

#: Of fewer problems a share says less than the count.
FEW = 5


def of_task(found: Analysis, task: str, metric: str) -> list[Grid]:
    """All tables of a task that there are figures for."""
    grids = [quality(found, task, metric), cost(found, task), texts(found, task)]
    if any(each.task == task for each in found.likings):
        grids.insert(1, rewards(found, task))
    if found.latencies:
        grids.append(latency(found, task))
    if found.scored(task) and len(found.table.families(task)) > 1:
        grids.append(families(found, task, metric))
    return grids


def quality(found: Analysis, task: str, metric: str) -> Grid:
    """Scores beside the first strategy's, and what they cost."""
    rows = []
    for line in (line for line in found.lines if line.task == task):
        cost, time = found.cost(task, line.strategy), found.latency(task, line.strategy, SECONDS)
        rows.append(
            (
                line.strategy,
                NONE if line.score is None else percent(line.score),
                *compared(line.over_first, 100),
                least(cost, f"{cost.forwards.value:,.0f}"),
                f"{cost.generated.value:,.0f}",
                NONE if time is None else f"{time.p50.value:,.2f}",
                found.unfinished(task, line.strategy) or f"{line.problems:,}",
            )
        )
    return Grid(
        f"{task}: {metric} in % [95% interval], and what an answer takes",
        (
            "strategy",
            metric,
            f"over {found.table.first}, points",
            "p",
            "corrected p",
            "verdict",
            "forwards",
            "generated",
            "seconds, p50",
            "problems",
        ),
        tuple(rows),
    )


def rewards(found: Analysis, task: str) -> Grid:
    """Rewards beside the first strategy's."""
    first = found.table.first
    return Grid(
        f"{task}: rewards by {found.table.run.judge} [95% interval]",
        (
            "strategy",
            "reward",
            "answers with one",
            f"wins against {first}, %",
            f"over {first}",
            "p",
            "corrected p",
            "verdict",
        ),
        tuple(
            (
                found.named(task, each.strategy),
                figure(each.reward),
                f"{each.answers - each.missing:,} of {each.answers:,}",
                NONE if each.wins is None else percent(each.wins),
                *compared(each.over_first, 1),
            )
            for each in found.likings
            if each.task == task
        ),
    )


def cost(found: Analysis, task: str) -> Grid:
    """What an answer takes."""
    return Grid(
        f"{task}: tokens of an answer, mean over problems [95% interval]",
        ("strategy", "forwards", "generated", "scored", "returned", "prompt"),
        tuple(
            (
                found.named(task, each.strategy),
                least(each, figure(each.forwards)),
                figure(each.generated),
                least(each, figure(each.scored)),
                figure(each.tokens),
                f"{each.prompt.value:,.1f}",
            )
            for each in found.costs
            if each.task == task
        ),
    )


def texts(found: Analysis, task: str) -> Grid:
    """What the texts are like."""
    distinct = tuple(f"distinct-{n}" for n in (1, 2, 3))
    spread = {each.strategy: each for each in found.diversities if each.task == task}
    return Grid(
        f"{task}: texts",
        ("strategy", "declined, %", "cut off, %", *distinct, "self-BLEU", "these over"),
        tuple(
            (
                found.named(task, each.strategy),
                percent(each.declined),
                percent(each.cut),
                *(decimal(value) for value in spread[each.strategy].distinct),
                decimal(spread[each.strategy].self_bleu),
                spread[each.strategy].over,
            )
            for each in found.costs
            if each.task == task
        ),
    )


def latency(found: Analysis, task: str) -> Grid:
    """How long requests took."""
    known = {each.measure for each in found.latencies if each.task == task}
    measured = [each for each in MEASURES if each.key in known]
    rows = []
    for each in (each for each in found.costs if each.task == task):
        cells = []
        for measure in measured:
            own = found.latency(task, each.strategy, measure)
            cells += [NONE, NONE] if own is None else [milliseconds(own.p50), milliseconds(own.p99)]
        cells += [f"{each.answers:,}", plain(each.wall), plain(each.rate)]
        rows.append((found.named(task, each.strategy), *cells))
    return Grid(
        f"{task}: milliseconds [95% interval]",
        (
            "strategy",
            *(f"{measure.title}, {part}" for measure in measured for part in ("p50", "p99")),
            "answers",
            "wall, s",
            "tokens/s",
        ),
        tuple(rows),
    )


def families(found: Analysis, task: str, metric: str) -> Grid:
    """Scores by family, counts of few problems; a sign where one clearly differs from the first strategy's."""
    kinds = found.table.families(task)
    signs = {BETTER: " ▲", WORSE: " ▼"}
    at = {(line.strategy, line.family): line for line in found.families if line.task == task}

    def cell(strategy: str, family: str) -> str:
        line = at.get((strategy, family))
        if line is None or line.score is None:
            return NONE
        sign = "" if line.over_first is None else signs.get(line.over_first.verdict, "")
        if line.problems < FEW:
            return f"{line.score.value * line.problems:.3g}/{line.problems}{sign}"
        return f"{percent(line.score)}{sign}"

    many = any(line.problems >= FEW for line in at.values())
    shown = f" in % [95% interval], as counts of fewer than {FEW} problems" if many else ", as counts"
    title = f"{task}: {metric} by family{shown}; ▲ better, ▼ worse than {found.table.first}"
    names = [line.strategy for line in found.scored(task)]
    if len(kinds) > len(names):  # a long table is easier to read than a wide one
        rows = tuple((kind, *(cell(name, kind) for name in names)) for kind in kinds)
        return Grid(title, ("family", *(found.named(task, name) for name in names)), rows)
    return Grid(
        title,
        ("strategy", *kinds),
        tuple((found.named(task, name), *(cell(name, kind) for kind in kinds)) for name in names),
    )


def compared(found: Comparison | None, scale: float) -> tuple[str, str, str, str]:
    """Difference, p-value, the corrected one, and the verdict; dashes for the first strategy."""
    if found is None:
        return NONE, NONE, NONE, NONE
    return difference(found, scale), p_value(found.p), p_value(found.corrected), found.verdict


def difference(found: Comparison, scale: float) -> str:
    """With its sign and interval, a question mark where nothing is known of it; `scale` 100 is for points."""
    each, digits = found.difference, 1 if scale == 100 else 2
    value, low, high = (signed(scale * bound, digits) for bound in (each.value, each.low, each.high))
    return f"{value} [{low}, {high}]"


def signed(value: float, digits: int) -> str:
    """With its sign; a question mark for an infinite bound, of which nothing is known."""
    return f"{value:+,.{digits}f}" if math.isfinite(value) else "?"


def percent(found: Interval) -> str:
    """A share and its interval."""
    return f"{100 * found.value:.1f} [{100 * found.low:.1f}, {100 * found.high:.1f}]"


def figure(found: Interval) -> str:
    """A figure and its interval, three digits where it is small; alone where nothing varies."""
    digits = 0 if abs(found.value) >= 100 else 1 if abs(found.value) >= 10 else 2
    if found.low == found.high:
        return f"{found.value:,.{digits}f}"
    return f"{found.value:,.{digits}f} [{found.low:,.{digits}f}, {found.high:,.{digits}f}]"


def milliseconds(found: Quantile) -> str:
    """A quantile; a bound that so few requests don't give is left open."""
    digits = 0 if found.value >= 0.1 else 1
    low, high = ("?" if bound is None else f"{1000 * bound:,.{digits}f}" for bound in (found.low, found.high))
    return f"{1000 * found.value:,.{digits}f} [{low}, {high}]"


def least(cost: Spending, text: str) -> str:
    """Marked where it may have been more."""
    return f"≥ {text}" if cost.least else text


def plain(value: float | None) -> str:
    """A figure that is counted over the whole run, or a dash."""
    return NONE if value is None else f"{value:,.{0 if value >= 100 else 1}f}"


def decimal(value: float | None) -> str:
    """A share, or a dash."""
    return NONE if value is None else f"{value:.2f}"


def p_value(p: float) -> str:
    """Never shown as 0."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
