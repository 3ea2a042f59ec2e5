"""Accuracy against N by judge, and against tokens beside the cheaper ways; a row for each kind of problems."""

from __future__ import annotations

from typing import TYPE_CHECKING

from motet_benchmarks.best_of.measured import Measured
from motet_benchmarks.best_of.plan import BLEND, ORACLE, REWARD, Plan

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot(measured: Measured, plan: Plan) -> Figure:
    """The picture of a run."""
    from matplotlib.figure import Figure

    kinds = list(dict.fromkeys(point.group for point in measured.points))
    figure = Figure(figsize=(13, 4.5 * len(kinds)), layout="constrained")
    rows = figure.subplots(len(kinds), 2, squeeze=False)
    for kind, (by_count, by_tokens) in zip(kinds, rows, strict=True):
        _by_count(by_count, kind, measured, plan)
        _by_tokens(by_tokens, kind, measured)
    return figure


def _by_count(axes: Axes, kind: str, measured: Measured, plan: Plan) -> None:
    points = [point for point in measured.points if point.group == kind]
    for place, judge in enumerate(dict.fromkeys(point.judge for point in points)):
        own = [point for point in points if point.judge == judge]
        sizes, colour = [point.n for point in own], "black" if judge == ORACLE else f"C{place}"
        axes.plot(sizes, [point.accuracy.value for point in own], marker=".", color=colour, label=judge)
        axes.fill_between(
            sizes,
            [point.accuracy.low for point in own],
            [point.accuracy.high for point in own],
            color=colour,
            alpha=0.12,
            linewidth=0,
        )
    axes.axhline(measured.greedy[kind].value, color="grey", linestyle=":", label="greedy")
    axes.set_xscale("log", base=2)
    axes.set_xticks(plan.sizes, [str(size) for size in plan.sizes])
    axes.set_xlabel("N")
    axes.set_ylabel("right answers, with 95% bands")
    axes.set_title(f"{kind.capitalize()}: the best of N")
    axes.legend(fontsize="small", ncols=2)


def _by_tokens(axes: Axes, kind: str, measured: Measured) -> None:
    for judge, colour in ((BLEND, "black"), (REWARD, "grey")):
        full = [point for point in measured.points if point.group == kind and point.judge == judge]
        axes.plot(
            [point.tokens for point in full],
            [point.accuracy.value for point in full],
            marker=".",
            color=colour,
            label=f"all to their end, by {judge}",
        )
    for place, each in enumerate((each for each in measured.savings if each.kind == kind), start=0):
        axes.errorbar(
            [each.tokens],
            [each.accuracy.value],
            yerr=[
                [each.accuracy.value - each.accuracy.low],
                [each.accuracy.high - each.accuracy.value],
            ],
            marker="*" if each.headline else "o",
            capsize=3,
            linestyle="none",
            color=f"C{place}",
            label=f"{each.recipe}; {each.judge}",
        )
    axes.set_xscale("log")
    axes.set_xlabel("tokens generated for a problem")
    axes.set_title(f"{kind.capitalize()}: all to their end, and cheaper ways")
    axes.legend(fontsize="small")
