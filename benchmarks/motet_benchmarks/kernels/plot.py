"""The kernel benchmark's plot: how much longer the others take, at the largest vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from motet_benchmarks.kernels.cases import FLAT, MOODS
from motet_benchmarks.kernels.clock import LAUNCHED
from motet_benchmarks.kernels.contests import CONTENDERS, MOTET
from motet_benchmarks.kernels.samples import Line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 4


def plot(lines: Sequence[Line]) -> Figure:
    """A panel a variant: ratios by batch, a colour a rival, flat logits dashed; on a GPU, those inside CUDA graphs."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    quickest = [line for line in lines if line.mode != LAUNCHED] or list(lines)
    panels = list(dict.fromkeys((line.case.job, line.case.variant) for line in quickest))
    height = -(-len(panels) // COLUMNS)
    figure = Figure(figsize=(4 * COLUMNS, 2.6 * height + 0.8), layout="constrained")
    grid = figure.subplots(height, COLUMNS, squeeze=False, sharex=True)
    rivals = [name for name in CONTENDERS if any(name in line.ratios for line in quickest)]
    colours = {name: f"C{CONTENDERS.index(name)}" for name in rivals}
    for place, axes in enumerate(grid.flat):
        if place >= len(panels):
            axes.set_axis_off()
            continue
        mine = [line for line in quickest if (line.case.job, line.case.variant) == panels[place]]
        vocab = max(line.case.vocab for line in mine)
        _panel(axes, [line for line in mine if line.case.vocab == vocab], colours)
        axes.set_title(f"{panels[place][0]}\n{panels[place][1]}", fontsize=9)
    handles = [Line2D([], [], color=colours[name], marker="o", label=name) for name in rivals]
    handles.append(Line2D([], [], color="grey", linestyle="--", marker="s", label="flat logits"))
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    figure.supylabel(f"time over {MOTET}'s (above 1: {MOTET} is faster)")
    figure.supxlabel("batch")
    return figure


def _panel(axes: Axes, lines: Sequence[Line], colours: dict[str, str]) -> None:
    for name, colour in colours.items():
        for mood in MOODS:
            points = sorted(
                (line.case.batch, line.ratios[name])
                for line in lines
                if line.case.mood == mood and name in line.ratios
            )
            if not points:
                continue
            values = [ratio.value for _, ratio in points]
            axes.errorbar(
                [batch for batch, _ in points],
                values,
                yerr=[
                    [ratio.value - ratio.low for _, ratio in points],
                    [ratio.high - ratio.value for _, ratio in points],
                ],
                color=colour,
                marker="s" if mood == FLAT else "o",
                linestyle="--" if mood == FLAT else "-",
                markerfacecolor="none" if mood == FLAT else colour,
                capsize=2,
            )
    axes.axhline(1.0, color="grey", linewidth=0.8)
    axes.set_yscale("log")
    axes.set_xscale("log", base=2)
