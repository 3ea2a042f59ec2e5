"""Plots of sweeps: quality along N or another setting, or over a map of two."""

from __future__ import annotations

from collections.abc import Mapping

from motet_benchmarks.statistics import Interval
from motet_benchmarks.strategies.report.analysis import Analysis
from motet_benchmarks.strategies.report.labels import explained, labels, numbers
from motet_benchmarks.strategies.report.quality import Quality
from motet_benchmarks.strategies.report.svg import INK, Plot, canvas, look

#: By key of a point what an axis calls it.
NAMES = {"n": "N"}

#: A setting's value, and the strategy with it.
_Points = list[tuple[float, str]]


def sweeps(found: Analysis, by: Quality, name: str) -> list[Plot]:
    """One plot for all sweeps over the same setting, and a map for each sweep over two."""
    curves: dict[str, dict[str, _Points]] = {}
    plots: list[Plot] = []
    for sweep, points in _by_sweep(found, by).items():
        keys = _moved(points)
        if len(keys) == 1:
            along = [(point[keys[0]], strategy) for strategy, point in points.items()]
            curves.setdefault(keys[0], {})[sweep] = sorted(along)
        elif len(keys) == 2:
            plots.append(_map(by, sweep, (keys[0], keys[1]), points, f"{name}{len(plots)}"))
    plots += [
        _curve(found, by, key, by_sweep, f"{name}{len(plots) + place}")
        for place, (key, by_sweep) in enumerate(curves.items())
    ]
    return plots


def _by_sweep(found: Analysis, by: Quality) -> dict[str, dict[str, Mapping[str, float]]]:
    """By sweep and strategy where it is in the sweep."""
    parted: dict[str, dict[str, Mapping[str, float]]] = {}
    for strategy in by.marks:
        asked = found.strategy(strategy)
        if asked.sweep is not None:
            parted.setdefault(asked.sweep, {})[strategy] = asked.point
    return parted


def _moved(points: Mapping[str, Mapping[str, float]]) -> list[str]:
    """The settings that every point of a sweep has and that differ within it."""
    every = list(points.values())
    return [
        key
        for key in every[0]
        if all(key in point for point in every) and len({point[key] for point in every}) > 1
    ]


def _curve(found: Analysis, by: Quality, key: str, by_sweep: dict[str, _Points], name: str) -> Plot:
    axis = NAMES.get(key, key)
    first = found.table.first
    alone = f"{first} (no sweep)" if first in by_sweep else first
    legend = labels([*by_sweep, alone])
    with canvas() as drawn:
        axes = drawn.figure.subplots()
        values = sorted({value for points in by_sweep.values() for value, _ in points})
        for place, (sweep, points) in enumerate(by_sweep.items()):
            own = look(place)
            where = [value for value, _ in points]
            marks = [by.marks[strategy] for _, strategy in points]
            axes.fill_between(
                where,
                [mark.low for mark in marks],
                [mark.high for mark in marks],
                color=own.colour,
                alpha=0.15,
                linewidth=0,
            )
            axes.plot(
                where,
                [mark.value for mark in marks],
                color=own.colour,
                linestyle=own.dash,
                marker=own.marker,
                markersize=5,
                label=legend[sweep],
            )
            for (value, strategy), mark in zip(points, marks, strict=True):
                text = f"{sweep}, {axis} = {value:g}: {by.said(strategy)}"
                axes.plot(
                    [value],
                    [mark.value],
                    marker=own.marker,
                    markersize=5,
                    color=own.colour,
                    gid=drawn.tip(text),
                )
        if first in by.marks:
            axes.axhline(by.marks[first].value, color=INK, linestyle=":", linewidth=1, label=legend[alone])
        if key == "n" and values[0] > 0:
            axes.set_xscale("log", base=2)
        axes.set_xticks(values, numbers(values))
        axes.minorticks_off()
        axes.set_xlabel(axis)
        axes.set_ylabel(labels([by.axis])[by.axis])
        drawn.legend()
        label = f"{by.metric} on {by.task} against {axis}. " + "; ".join(
            f"{sweep}: "
            + ", ".join(f"{by.brief(by.marks[strategy].value)} at {value:g}" for value, strategy in points)
            for sweep, points in by_sweep.items()
        )
        caption = f"Bands are 95% intervals, each point's own.{explained(legend)}"
        return Plot(f"{by.title} against {axis}", caption, label, drawn.svg(name, label))


def _map(
    by: Quality, sweep: str, keys: tuple[str, str], points: Mapping[str, Mapping[str, float]], name: str
) -> Plot:
    columns, rows = (sorted({point[key] for point in points.values()}) for key in keys)
    at: dict[tuple[int, int], Interval] = {
        (columns.index(point[keys[0]]), rows.index(point[keys[1]])): by.marks[strategy]
        for strategy, point in points.items()
    }
    low, high = min(mark.value for mark in at.values()), max(mark.value for mark in at.values())
    with canvas(height=0.8 + 0.45 * len(rows)) as drawn:
        from matplotlib import colormaps

        axes = drawn.figure.subplots()
        axes.grid(visible=False)
        for (x, y), mark in at.items():
            # From the middle of the map's range where all are equal.
            part = (mark.value - low) / (high - low) if high > low else 0.5
            text = f"{keys[0]} {columns[x]:g}, {keys[1]} {rows[y]:g}: {by.brief(mark.value)}"
            axes.bar([x], [1], width=1, bottom=[y - 0.5], color=colormaps["viridis"](part), edgecolor="none")[
                0
            ].set_gid(drawn.tip(text))
            axes.text(
                x,
                y,
                f"{mark.value:.0f}" if by.graded else f"{mark.value:.2f}",
                ha="center",
                va="center",
                color="white" if part < 0.65 else "black",
            )
        axes.set_xlim(-0.5, len(columns) - 0.5)
        axes.set_ylim(-0.5, len(rows) - 0.5)
        axes.set_xticks(range(len(columns)), numbers(columns))
        axes.set_yticks(range(len(rows)), numbers(rows))
        axes.set_xlabel(NAMES.get(keys[0], keys[0]))
        axes.set_ylabel(NAMES.get(keys[1], keys[1]))
        label = f"{by.metric} on {by.task} over {keys[0]} and {keys[1]} of {sweep}: " + "; ".join(
            f"{columns[x]:g}, {rows[y]:g}: {by.brief(mark.value)}" for (x, y), mark in sorted(at.items())
        )
        return Plot(
            f"{sweep}: {by.metric} over {keys[0]} x {keys[1]}",
            f"{'In %; brighter' if by.graded else 'Brighter'} is better, from {by.brief(low)} to {by.brief(high)}. "
            "Intervals are in the table.",
            label,
            drawn.svg(name, label),
        )
