"""Plots of sweeps: the score along N or another setting, or over a map of two."""

from __future__ import annotations

from motet_benchmarks.statistics import Interval
from motet_benchmarks.strategies.figures import Line
from motet_benchmarks.strategies.report import tables
from motet_benchmarks.strategies.report.analysis import Analysis
from motet_benchmarks.strategies.report.svg import COLOURS, INK, Plot, canvas, shorten

#: By key of a point what an axis calls it.
NAMES = {"n": "N"}

#: A setting's value and what the strategy with it scores.
_Points = list[tuple[float, Interval]]


def sweeps(found: Analysis, task: str, metric: str, name: str) -> list[Plot]:
    """One plot for all sweeps over the same setting, and a map for each sweep over two."""
    curves: dict[str, dict[str, _Points]] = {}
    plots: list[Plot] = []
    for sweep, lines in _by_sweep(found, task).items():
        keys = _moved(found, lines)
        if len(keys) == 1:
            points = [(_point(found, line)[keys[0]], line.score) for line in lines if line.score is not None]
            curves.setdefault(keys[0], {})[sweep] = sorted(points, key=lambda point: point[0])
        elif len(keys) == 2:
            plots.append(_map(found, task, metric, sweep, (keys[0], keys[1]), lines, f"{name}-{len(plots)}"))
    plots += [
        _curve(found, task, metric, key, by_sweep, f"{name}-{len(plots) + place}")
        for place, (key, by_sweep) in enumerate(curves.items())
    ]
    return plots


def _by_sweep(found: Analysis, task: str) -> dict[str, list[Line]]:
    by: dict[str, list[Line]] = {}
    for line in found.scored(task):
        sweep = found.strategy(line.strategy).sweep
        if sweep is not None:
            by.setdefault(sweep, []).append(line)
    return by


def _point(found: Analysis, line: Line) -> dict[str, float]:
    return dict(found.strategy(line.strategy).point)


def _moved(found: Analysis, lines: list[Line]) -> list[str]:
    """The settings that every point of a sweep has and that differ within it."""
    points = [_point(found, line) for line in lines]
    return [
        key
        for key in points[0]
        if all(key in point for point in points) and len({point[key] for point in points}) > 1
    ]


def _curve(
    found: Analysis, task: str, metric: str, key: str, by_sweep: dict[str, _Points], name: str
) -> Plot:
    axis = NAMES.get(key, key)
    with canvas() as drawn:
        axes = drawn.figure.subplots()
        values = sorted({value for points in by_sweep.values() for value, _ in points})
        for place, (sweep, points) in enumerate(by_sweep.items()):
            colour = COLOURS[place % len(COLOURS)]
            where, scores = [value for value, _ in points], [score for _, score in points]
            axes.fill_between(
                where,
                [100 * score.low for score in scores],
                [100 * score.high for score in scores],
                color=colour,
                alpha=0.15,
                linewidth=0,
            )
            axes.plot(where, [100 * score.value for score in scores], color=colour, label=shorten(sweep))
            for value, score in points:
                text = f"{sweep}, {axis} = {value:g}: {tables.percent(score)} %"
                axes.plot(
                    [value], [100 * score.value], marker="o", markersize=5, color=colour, gid=drawn.tip(text)
                )
        first = found.line(task, found.table.first)
        if first is not None and first.score is not None:
            axes.axhline(
                100 * first.score.value, color=INK, linestyle=":", linewidth=1, label=shorten(first.strategy)
            )
        if key == "n" and values[0] > 0:
            axes.set_xscale("log", base=2)
        axes.set_xticks(values, [f"{value:g}" for value in values])
        axes.minorticks_off()
        axes.set_xlabel(axis)
        axes.set_ylabel(f"{metric}, %")
        drawn.figure.legend(loc="outside lower center", ncols=2)
        label = f"{metric} on {task} against {axis}. " + "; ".join(
            f"{sweep}: " + ", ".join(f"{100 * score.value:.1f} % at {value:g}" for value, score in points)
            for sweep, points in by_sweep.items()
        )
        caption = "Bands are 95% intervals, each point's own."
        return Plot(f"{metric.capitalize()} against {axis}", caption, label, drawn.svg(name, label))


def _map(
    found: Analysis,
    task: str,
    metric: str,
    sweep: str,
    keys: tuple[str, str],
    lines: list[Line],
    name: str,
) -> Plot:
    points = [(_point(found, line), line) for line in lines]
    columns, rows = (sorted({point[key] for point, _ in points}) for key in keys)
    at = {
        (columns.index(point[keys[0]]), rows.index(point[keys[1]])): line.score.value
        for point, line in points
        if line.score is not None
    }
    low, high = min(at.values()), max(at.values())
    with canvas(height=1.2 + 0.45 * len(rows)) as drawn:
        from matplotlib import colormaps

        axes = drawn.figure.subplots()
        axes.grid(visible=False)
        for (x, y), score in at.items():
            # From the middle of the map's range where all are equal.
            part = (score - low) / (high - low) if high > low else 0.5
            text = f"{keys[0]} {columns[x]:g}, {keys[1]} {rows[y]:g}: {100 * score:.1f} %"
            axes.bar([x], [1], width=1, bottom=[y - 0.5], color=colormaps["viridis"](part), edgecolor="none")[
                0
            ].set_gid(drawn.tip(text))
            axes.text(
                x,
                y,
                f"{100 * score:.0f}",
                ha="center",
                va="center",
                color="white" if part < 0.65 else "black",
            )
        axes.set_xlim(-0.5, len(columns) - 0.5)
        axes.set_ylim(-0.5, len(rows) - 0.5)
        axes.set_xticks(range(len(columns)), [f"{value:g}" for value in columns])
        axes.set_yticks(range(len(rows)), [f"{value:g}" for value in rows])
        axes.set_xlabel(NAMES.get(keys[0], keys[0]))
        axes.set_ylabel(NAMES.get(keys[1], keys[1]))
        label = f"{metric} on {task} over {keys[0]} and {keys[1]} of {sweep}, in %: " + "; ".join(
            f"{columns[x]:g}, {rows[y]:g}: {100 * score:.1f}" for (x, y), score in sorted(at.items())
        )
        return Plot(
            f"{shorten(sweep)}: {metric} over {keys[0]} x {keys[1]}",
            f"In %; brighter is better, from {100 * low:.1f} to {100 * high:.1f}. Intervals are in the table.",
            label,
            drawn.svg(name, label),
        )
