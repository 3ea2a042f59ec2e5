"""Latency and goodput against the load, a colour for each server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from motet_benchmarks.load.records import Figures, Load, Metric
from motet_benchmarks.statistics import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: The lines of the first panel.
STYLES = {"p50": "-", "p99": "--"}


def plot(load: Load) -> Figure:
    """The picture of a run."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    metric: Metric = "first token" if load.stream else "end to end"
    for place, server in enumerate(load.servers):
        own = [one for one in load.figures if one.server == server.name and one.member is None]
        colour = f"C{place}"
        for percentile, style in STYLES.items():
            found = [
                (load.steps[one.step].load, getattr(one.latency[metric], percentile))
                for one in own
                if metric in one.latency
            ]
            _line(left, found, f"{server.name}, {percentile}", colour, style, scale=1000)
        _line(right, _goodput(load, own), f"{server.name}, goodput", colour, "-")
        right.plot(
            [load.steps[one.step].load for one in own],
            [one.completed for one in own],
            linestyle=":",
            marker=".",
            color=colour,
            label=f"{server.name}, throughput",
        )
    closed = load.steps[0].rate is None
    for axes in (left, right):
        axes.set_xlabel("clients" if closed else "requests a second, offered")
        axes.set_ylim(bottom=0)
        if axes.lines:  # nothing may have been answered
            axes.legend(fontsize="small")
        axes.grid(alpha=0.3)
    left.set_ylabel(f"{metric}, milliseconds")
    right.set_ylabel("requests a second")
    return figure


def _goodput(load: Load, own: list[Figures]) -> list[tuple[float, Interval]]:
    return [(load.steps[one.step].load, one.goodput) for one in own if one.goodput is not None]


def _line(
    axes: Axes,
    found: list[tuple[float, Interval]],
    label: str,
    colour: str,
    style: str,
    *,
    scale: float = 1,
) -> None:
    """Figures with their intervals; nothing where there are none."""
    if not found:
        return
    axes.errorbar(
        [place for place, _ in found],
        [scale * each.value for _, each in found],
        # The bootstrap's interval may leave its own figure out by a rounding.
        yerr=[
            [scale * max(0.0, each.value - each.low) for _, each in found],
            [scale * max(0.0, each.high - each.value) for _, each in found],
        ],
        linestyle=style,
        marker="o",
        markersize=4,
        capsize=2,
        color=colour,
        label=label,
    )
