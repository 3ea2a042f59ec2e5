"""Plots of scores: by strategy, against what they cost, and by family."""

from __future__ import annotations

from collections.abc import Mapping

from motet_benchmarks.statistics import Interval
from motet_benchmarks.strategies.report import tables
from motet_benchmarks.strategies.report.analysis import Analysis
from motet_benchmarks.strategies.report.svg import COLOURS, INK, Plot, canvas, logarithmic, shorten

#: The most families that have bars.
FAMILIES = 12

#: The cost figures that scores are plotted against, and what an axis calls them.
COSTS = {"forwards": "tokens computed for an answer", "generated": "tokens generated for an answer"}


def colours(found: Analysis, task: str) -> dict[str, str]:
    """The colour of each strategy that plots of a task tell apart; the first has the text's own."""
    shown = found.shown(task)
    others = [name for name in shown if name != found.table.first]
    named = dict(zip(others, COLOURS, strict=False))
    return {found.table.first: INK, **named} if found.table.first in shown else named


def by_strategy(found: Analysis, task: str, metric: str, name: str) -> Plot:
    """Every strategy's score with its interval, beside the first one's."""
    lines = found.scored(task)
    named = colours(found, task)
    with canvas(height=1.1 + 0.24 * len(lines)) as drawn:
        axes = drawn.figure.subplots()
        for place, line in enumerate(lines):
            assert line.score is not None
            text = f"{line.strategy}: {tables.percent(line.score)} %"
            axes.errorbar(
                [100 * line.score.value],
                [place],
                xerr=_reach(line.score),
                marker="o",
                markersize=5,
                elinewidth=1.4,
                capsize=2.5,
                color=named.get(line.strategy, INK),
                alpha=1 if line.strategy in named else 0.55,
            )[0].set_gid(drawn.tip(text))
            if line.strategy == found.table.first:
                axes.axvline(100 * line.score.value, color=INK, linestyle=":", linewidth=1)
        axes.set_yticks(range(len(lines)), [shorten(line.strategy) for line in lines])
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set_xlabel(f"{metric}, %, with 95% intervals")
        label = f"{metric} on {task} by strategy: " + "; ".join(
            f"{line.strategy} {tables.percent(line.score)} %" for line in lines if line.score is not None
        )
        return Plot(
            f"{metric.capitalize()} by strategy",
            f"The dotted line is {found.table.first}.",
            label,
            drawn.svg(name, label),
        )


def against_cost(found: Analysis, task: str, metric: str, figure: str, name: str) -> Plot:
    """Scores against a cost, with the Pareto front."""
    lines, named = found.scored(task), colours(found, task)
    best = found.front(task, figure)
    at = {
        line.strategy: (getattr(found.cost(task, line.strategy), figure), line.score)
        for line in lines
        if line.score is not None
    }
    with canvas(height=3.9) as drawn:
        axes = drawn.figure.subplots()
        for strategy, (cost, score) in at.items():
            shown = strategy in named
            text = f"{strategy}: {tables.percent(score)} % at {tables.figure(cost)} tokens"
            axes.errorbar(
                [cost.value],
                [100 * score.value],
                xerr=[[cost.value - cost.low], [cost.high - cost.value]],
                yerr=_reach(score),
                color=named.get(strategy, INK),
                alpha=1 if shown else 0.35,
                elinewidth=0.8,
            )
            axes.plot(
                [cost.value],
                [100 * score.value],
                marker="o" if strategy in best else "x",
                markersize=6 if strategy in best else 5,
                linestyle="none",
                color=named.get(strategy, INK),
                alpha=1 if shown else 0.5,
                label=shorten(strategy) if shown else None,
                gid=drawn.tip(text),
            )
        front = sorted((at[strategy][0].value, 100 * at[strategy][1].value) for strategy in best)
        front.append((max(cost.value for cost, _ in at.values()), front[-1][1]))
        axes.step(
            [x for x, _ in front], [y for _, y in front], where="post", color=INK, alpha=0.5, linewidth=1
        )
        if all(cost.value > 0 for cost, _ in at.values()):
            logarithmic(axes)
        axes.set_xlabel(COSTS[figure])
        axes.set_ylabel(f"{metric}, %")
        drawn.figure.legend(loc="outside lower center", ncols=2)
        label = f"{metric} on {task} against {COSTS[figure]}. On the front: " + "; ".join(
            f"{strategy}, {100 * at[strategy][1].value:.1f} % at {at[strategy][0].value:,.0f} tokens"
            for strategy in best
        )
        return Plot(
            f"{metric.capitalize()} against {figure}",
            "Circles on the line are the front: no other strategy is as good for fewer tokens. Crosses are beaten."
            + (
                " Without a colour: strategies that the legend leaves out." if len(named) < len(lines) else ""
            ),
            label,
            drawn.svg(name, label),
        )


def by_family(found: Analysis, task: str, metric: str, name: str) -> Plot:
    """A bar for each family and shown strategy."""
    named = colours(found, task)
    at = {
        (line.family, line.strategy): line.score
        for line in found.families
        if line.task == task and line.score is not None
    }
    every = found.table.families(task)
    families = _differing(every, {key: score.value for key, score in at.items() if key[1] in named})
    width = 0.8 / len(named)
    with canvas(height=1.2 + 0.13 * len(families) * (len(named) + 1)) as drawn:
        axes = drawn.figure.subplots()
        for place, (strategy, colour) in enumerate(named.items()):
            rows = [
                (row, at[family, strategy]) for row, family in enumerate(families) if (family, strategy) in at
            ]
            for row, score in rows:
                where = row + (place - (len(named) - 1) / 2) * width
                text = f"{strategy}, {families[row]}: {tables.percent(score)} %"
                axes.barh(
                    [where],
                    [100 * score.value],
                    height=width,
                    color=colour,
                    alpha=0.85,
                    label=shorten(strategy) if row == rows[0][0] else None,
                )[0].set_gid(drawn.tip(text))
                axes.errorbar(
                    [100 * score.value], [where], xerr=_reach(score), color=INK, elinewidth=0.7, alpha=0.6
                )
        axes.set_yticks(range(len(families)), [shorten(family, 18) for family in families])
        axes.set_ylim(len(families) - 0.4, -0.6)
        axes.grid(axis="y", visible=False)
        axes.set_xlim(0, 100)
        axes.set_xlabel(f"{metric}, %, with 95% intervals")
        drawn.figure.legend(loc="outside lower center", ncols=2)
        label = f"{metric} on {task} by family: " + "; ".join(
            f"{family}: "
            + ", ".join(
                f"{each} {100 * at[family, each].value:.0f} %" for each in named if (family, each) in at
            )
            for family in families
        )
        return Plot(
            f"{metric.capitalize()} by family",
            "The strategies that are on the front or differ most; the table has all."
            + (
                f" The {len(families)} of {len(every)} families in which they differ most."
                if len(families) < len(every)
                else ""
            ),
            label,
            drawn.svg(name, label),
        )


def _differing(families: list[str], scores: Mapping[tuple[str | None, str], float]) -> list[str]:
    """As many families as a plot has room for: those in which strategies' scores lie furthest apart."""

    def spread(family: str) -> float:
        own = [score for (of, _), score in scores.items() if of == family]
        return max(own, default=0.0) - min(own, default=0.0)

    chosen = sorted(families, key=spread, reverse=True)[:FAMILIES]
    return [family for family in families if family in chosen]


def _reach(score: Interval) -> list[list[float]]:
    """What an error bar takes, in percent; an interval may end a hair inside its own value."""
    return [
        [max(0.0, 100 * (score.value - score.low))],
        [max(0.0, 100 * (score.high - score.value))],
    ]
