"""Plots of quality: by strategy, against what it costs, and by family."""

from __future__ import annotations

from collections.abc import Mapping

from motet_benchmarks.statistics import Interval
from motet_benchmarks.strategies.report import tables
from motet_benchmarks.strategies.report.analysis import Analysis
from motet_benchmarks.strategies.report.labels import explained, labels
from motet_benchmarks.strategies.report.quality import COSTS, Quality
from motet_benchmarks.strategies.report.svg import FIRST, INK, Look, Plot, canvas, logarithmic, look

#: The most families that have bars.
FAMILIES = 12

#: The most letters of a row's label, beside which a plot needs its place.
ROW = 22


def looks(found: Analysis, task: str) -> dict[str, Look]:
    """The look of each strategy that plots of a task tell apart; the first has the text's own colour."""
    shown = found.shown(task)
    others = [name for name in shown if name != found.table.first]
    named = {name: look(place) for place, name in enumerate(others)}
    return {found.table.first: FIRST, **named} if found.table.first in shown else named


def by_strategy(found: Analysis, by: Quality, name: str) -> Plot:
    """Every strategy's quality with its interval, beside the first one's."""
    named = looks(found, by.task)
    first = found.table.first
    rows = labels(by.marks, ROW)
    unfinished = [
        found.named(by.task, strategy) for strategy in by.marks if found.unfinished(by.task, strategy)
    ]
    with canvas(height=0.7 + 0.24 * len(by.marks)) as drawn:
        axes = drawn.figure.subplots()
        for place, (strategy, mark) in enumerate(by.marks.items()):
            axes.errorbar(
                [mark.value],
                [place],
                xerr=reach([mark]),
                marker="o",
                markersize=5,
                elinewidth=1.4,
                capsize=2.5,
                color=named[strategy].colour if strategy in named else INK,
                alpha=1 if strategy in named else 0.55,
            )[0].set_gid(drawn.tip(f"{strategy}: {by.said(strategy)}"))
            if strategy == first:
                axes.axvline(mark.value, color=INK, linestyle=":", linewidth=1)
        axes.set_yticks(range(len(rows)), list(rows.values()))
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set_xlabel(labels([by.axis], ROW)[by.axis])
        label = f"{by.metric} on {by.task} by strategy: " + "; ".join(
            f"{strategy} {by.said(strategy)}" for strategy in by.marks
        )
        return Plot(
            f"{by.title} by strategy",
            "With 95% intervals."
            + (f" The dotted line is {first}." if first in by.marks else "")
            + (f" Unfinished: {'; '.join(unfinished)}." if unfinished else "")
            + explained(rows),
            label,
            drawn.svg(name, label),
        )


def against_cost(found: Analysis, by: Quality, figure: str, name: str) -> Plot:
    """Quality against a cost, with the Pareto front."""
    named, best = looks(found, by.task), by.fronts[figure]
    costs: dict[str, Interval] = {
        strategy: getattr(found.cost(by.task, strategy), figure) for strategy in by.marks
    }
    legend = labels([strategy for strategy in by.marks if strategy in named])
    with canvas(height=2.9) as drawn:
        axes = drawn.figure.subplots()
        for strategy, mark in by.marks.items():
            cost, own = costs[strategy], named.get(strategy)
            axes.errorbar(
                [cost.value],
                [mark.value],
                xerr=reach([cost]),
                yerr=reach([mark]),
                color=INK if own is None else own.colour,
                alpha=0.25 if own is None else 0.7,
                elinewidth=0.8,
            )
            axes.plot(
                [cost.value],
                [mark.value],
                marker="o" if own is None else own.marker,
                markersize=4 if own is None else 7,
                markerfacecolor=None if strategy in best else "none",
                linestyle="none",
                color=INK if own is None else own.colour,
                alpha=0.4 if own is None else 0.9,
                label=legend.get(strategy),
                gid=drawn.tip(f"{strategy}: {by.said(strategy)} at {tables.figure(cost)} tokens"),
            )
        front = sorted((costs[strategy].value, by.marks[strategy].value) for strategy in best)
        if front:
            front.append((max(cost.value for cost in costs.values()), front[-1][1]))
            axes.step(*zip(*front, strict=True), where="post", color=INK, alpha=0.5, linewidth=1)
        logarithmic(axes)
        axes.set_xlabel(COSTS[figure])
        axes.set_ylabel(labels([by.axis])[by.axis])
        drawn.legend()
        label = f"{by.metric} on {by.task} against {COSTS[figure]}. On the front: " + "; ".join(
            f"{strategy}, {by.brief(by.marks[strategy].value)} at {costs[strategy].value:,.0f} tokens"
            for strategy in best
        )
        return Plot(
            f"{by.title} against {figure}",
            "Filled, on the line: the front, where no other strategy is as good for fewer tokens. Hollow: the others."
            + (
                " Small and grey: strategies that the legend leaves out."
                if len(legend) < len(by.marks)
                else ""
            )
            + explained(legend),
            label,
            drawn.svg(name, label),
        )


def by_family(found: Analysis, task: str, metric: str, name: str, table: str) -> Plot:
    """A bar for each family and shown strategy; `table` is the id of the one that has all of them."""
    named = looks(found, task)
    at = {
        (line.family, line.strategy): line.score
        for line in found.families
        if line.task == task and line.score is not None and line.strategy in named
    }
    every = found.table.families(task)
    families = _differing(every, {key: score.value for key, score in at.items()})
    rows, legend = labels(families, ROW), labels(named)
    width = 0.8 / len(named)
    with canvas(height=0.7 + 0.075 * len(families) * (len(named) + 1)) as drawn:
        axes = drawn.figure.subplots()
        for place, (strategy, own) in enumerate(named.items()):
            known = [row for row, family in enumerate(families) if (family, strategy) in at]
            for row in known:
                score = at[families[row], strategy]
                where = row + (place - (len(named) - 1) / 2) * width
                axes.barh(
                    [where],
                    [100 * score.value],
                    height=width,
                    color=own.colour,
                    alpha=0.85,
                    label=legend[strategy] if row == known[0] else None,
                )[0].set_gid(drawn.tip(f"{strategy}, {families[row]}: {tables.percent(score)} %"))
                percent = Interval(100 * score.value, 100 * score.low, 100 * score.high)
                axes.errorbar(
                    [percent.value], [where], xerr=reach([percent]), color=INK, elinewidth=0.7, alpha=0.6
                )
        axes.set_yticks(range(len(families)), list(rows.values()))
        axes.set_ylim(len(families) - 0.4, -0.6)
        axes.grid(axis="y", visible=False)
        axes.set_xlim(0, 100)
        axes.set_xlabel(labels([f"{metric}, %"], ROW)[f"{metric}, %"])
        drawn.legend()
        spans = {
            family: [100 * at[family, each].value for each in named if (family, each) in at]
            for family in families
        }
        label = f"{metric} on {task} by family, lowest and highest: " + "; ".join(
            f"{family} {min(span):.0f} to {max(span):.0f} %" for family, span in spans.items() if span
        )
        return Plot(
            f"{metric[:1].upper()}{metric[1:]} by family",
            "With 95% intervals; bars of a family stand in the legend's order. The strategies that are on the front or "
            "differ most; the table has all."
            + (
                f" The {len(families)} of {len(every)} families in which they differ most."
                if len(families) < len(every)
                else ""
            )
            + explained(legend)
            + explained(rows),
            label,
            drawn.svg(name, label, table),
        )


def reach(found: list[Interval]) -> list[list[float]]:
    """What error bars take: how far intervals go below and above. One may end a hair inside its own value."""
    return [
        [max(0.0, each.value - each.low) for each in found],
        [max(0.0, each.high - each.value) for each in found],
    ]


def _differing(families: list[str], scores: Mapping[tuple[str | None, str], float]) -> list[str]:
    """As many families as a plot has room for: those in which strategies' scores lie furthest apart."""

    def spread(family: str) -> float:
        own = [score for (of, _), score in scores.items() if of == family]
        return max(own, default=0.0) - min(own, default=0.0)

    chosen = sorted(families, key=spread, reverse=True)[:FAMILIES]
    return [family for family in families if family in chosen]
