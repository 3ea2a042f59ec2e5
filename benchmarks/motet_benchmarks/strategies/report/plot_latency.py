"""Plots of latency: which share of requests took no longer than a time."""

from __future__ import annotations

from motet_benchmarks.strategies.report.analysis import Analysis
from motet_benchmarks.strategies.report.labels import explained, labels
from motet_benchmarks.strategies.report.latency import MEASURES, Measure, times
from motet_benchmarks.strategies.report.plot_quality import looks
from motet_benchmarks.strategies.report.svg import Plot, canvas, logarithmic

#: The most points of a curve, as a page needs no more.
POINTS = 200

#: The least ratio of two medians for a logarithmic axis, on which the fast are told apart beside the slow.
APART = 4


def curves(found: Analysis, task: str, name: str) -> list[Plot]:
    """The cumulative distribution of each kind of time that was measured of a strategy that plots show."""
    shown = looks(found, task)
    measured = {each.measure for each in found.latencies if each.task == task and each.strategy in shown}
    return [
        _curves(found, task, measure, f"{name}{place}")
        for place, measure in enumerate(MEASURES)
        if measure.key in measured
    ]


def _curves(found: Analysis, task: str, measure: Measure, name: str) -> Plot:
    import numpy as np

    said = {
        each.strategy: each for each in found.latencies if (each.task, each.measure) == (task, measure.key)
    }
    named = {strategy: own for strategy, own in looks(found, task).items() if strategy in said}
    legend = labels(named)
    with canvas() as drawn:
        axes = drawn.figure.subplots()
        for strategy, look in named.items():
            values = np.sort(times(found.table, task, strategy, measure))
            parts = np.linspace(0, 1, min(POINTS, len(values) + 1))
            at = np.quantile(values, parts, method="inverted_cdf")
            own = said[strategy]
            text = f"{strategy}: p50 {1000 * own.p50.value:,.0f} ms, p99 {1000 * own.p99.value:,.0f} ms"
            axes.step(
                1000 * at,
                parts,
                where="post",
                color=look.colour,
                linestyle=look.dash,
                marker=look.marker,
                markersize=4,
                markevery=0.25,
                label=legend[strategy],
                gid=drawn.tip(text),
            )
        axes.set_ylim(0, 1.01)
        middles = [said[strategy].p50.value for strategy in named]
        if max(middles) > APART * min(middles):
            logarithmic(axes)
        if axes.get_xscale() == "linear":
            axes.set_xlim(left=0)
        axes.set_xlabel(
            f"milliseconds to the {measure.title}" if measure.key != "per_token" else "milliseconds"
        )
        axes.set_ylabel("share of requests")
        drawn.legend()
        label = f"Latency of the {measure.title} on {task}, in milliseconds: " + "; ".join(
            f"{strategy} p50 {1000 * each.p50.value:,.0f}, p99 {1000 * each.p99.value:,.0f}"
            for strategy, each in said.items()
        )
        return Plot(
            f"Latency: {measure.title}",
            "The share of requests that took no longer."
            + (" Strategies that the legend leaves out are in the table." if len(named) < len(said) else "")
            + explained(legend),
            label,
            drawn.svg(name, label),
        )
