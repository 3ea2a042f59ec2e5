"""Every setting's gain or loss over the plain answer, with its interval, series by series."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from motet_benchmarks.voices.asking import Answered
from motet_benchmarks.voices.figures import Line
from motet_benchmarks.voices.plan import Plan

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot(plan: Plan, answered: Answered, found: Sequence[Line]) -> Figure:
    """The picture of a run: chosen settings are filled."""
    from matplotlib.figure import Figure

    chosen = {(choice.series, choice.setting) for choice in answered.choices}
    figure = Figure(figsize=(9, 1.5 + 0.23 * (len(found) + len(plan.series))), layout="constrained")
    axes = figure.subplots()
    labels: list[tuple[float, str]] = []
    place = 0.0
    for number, series in enumerate(plan.series):
        own = [line for line in found if line.series == series.name]
        if not own:
            continue
        labels.append((place, f"{series.name}:"))
        for line in own:
            place += 1
            labels.append((place, line.setting))
            gain = line.difference
            axes.errorbar(
                [100 * gain.value],
                [place],
                xerr=[[100 * (gain.value - gain.low)], [100 * (gain.high - gain.value)]],
                marker="o",
                markerfacecolor=f"C{number}" if (line.series, line.setting) in chosen else "white",
                color=f"C{number}",
                capsize=2,
            )
        place += 1.4
    axes.axvline(0, color="grey", linewidth=0.8)
    axes.set_yticks([at for at, _ in labels], [label for _, label in labels], fontsize="small")
    axes.set_ylim(place, -1)
    axes.set_xlabel("points gained over the plain answer, 95% intervals; filled: chosen on validation")
    return figure
