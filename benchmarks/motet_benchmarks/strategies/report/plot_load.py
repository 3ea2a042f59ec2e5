"""Plots of a load: latency and goodput against how much was asked."""

from __future__ import annotations

from motet_benchmarks.load.records import METRICS, Load, Metric
from motet_benchmarks.statistics import Interval
from motet_benchmarks.strategies.report.labels import explained, labels
from motet_benchmarks.strategies.report.plot_quality import reach
from motet_benchmarks.strategies.report.svg import INK, Plot, canvas, look

#: What a server did at each load: the load, and a figure with its interval.
_Curve = list[tuple[float, Interval]]


def plots(found: Load) -> list[Plot]:
    """The 99th percentile of each latency, and the goodput where there are targets."""
    drawn = [
        _plot(
            found,
            _latency(found, metric),
            title=f"Load: {metric}, p99",
            axis="milliseconds, p99",
            target=_target(found, metric),
            name=f"load-{place}",
        )
        for place, metric in enumerate(METRICS)
        if any(metric in each.latency for each in found.figures)
    ]
    goodput = {
        server.name: [
            (found.steps[each.step].load, each.goodput)
            for each in found.figures
            if (each.server, each.member) == (server.name, None) and each.goodput is not None
        ]
        for server in found.servers
    }
    if any(goodput.values()):
        drawn.append(
            _plot(
                found, goodput, title="Load: goodput", axis="requests/s within the targets", name="load-good"
            )
        )
    return drawn


def _latency(found: Load, metric: Metric) -> dict[str, _Curve]:
    return {
        server.name: [
            (found.steps[each.step].load, _milliseconds(each.latency[metric].p99))
            for each in found.figures
            if (each.server, each.member) == (server.name, None) and metric in each.latency
        ]
        for server in found.servers
    }


def _target(found: Load, metric: Metric) -> float | None:
    targets: dict[Metric, float | None] = {
        "first token": found.targets.first_token,
        "per token": found.targets.per_token,
        "end to end": found.targets.end_to_end,
    }
    seconds = targets[metric]
    return None if seconds is None else 1000 * seconds


def _milliseconds(each: Interval) -> Interval:
    return Interval(1000 * each.value, 1000 * each.low, 1000 * each.high)


def _plot(
    found: Load,
    curves: dict[str, _Curve],
    *,
    title: str,
    axis: str,
    name: str,
    target: float | None = None,
) -> Plot:
    asked = "requests due, a second" if found.steps[0].rate is not None else "clients"
    goal = "target" if "target" not in curves else "target (no server)"
    legend = labels([*curves, goal])
    with canvas() as drawn:
        axes = drawn.figure.subplots()
        for place, (server, curve) in enumerate(curves.items()):
            own = look(place)
            axes.errorbar(
                [load for load, _ in curve],
                [each.value for _, each in curve],
                yerr=reach([each for _, each in curve]),
                color=own.colour,
                linestyle=own.dash,
                marker=own.marker,
                markersize=5,
                capsize=2.5,
                elinewidth=1,
                label=legend[server],
            )
            for load, each in curve:
                text = f"{server} at {load:g}: {each.value:,.1f} [{each.low:,.1f}, {each.high:,.1f}]"
                axes.plot(
                    [load],
                    [each.value],
                    marker=own.marker,
                    markersize=5,
                    color=own.colour,
                    gid=drawn.tip(text),
                )
        if target is not None:
            axes.axhline(target, color=INK, linestyle=":", linewidth=1, label=legend[goal])
        axes.set_ylim(bottom=0)
        axes.set_xlabel(asked)
        axes.set_ylabel(axis)
        drawn.legend()
        label = f"{title}, {axis} by {asked}: " + "; ".join(
            f"{server}: " + ", ".join(f"{each.value:,.1f} at {load:g}" for load, each in curve)
            for server, curve in curves.items()
        )
        return Plot(title, f"Bars are 95% intervals.{explained(legend)}", label, drawn.svg(name, label))
