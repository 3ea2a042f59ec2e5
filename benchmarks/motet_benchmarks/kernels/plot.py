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
    grid = figure.subplots(height, COLUMNS, squeeze=False, sharex=True, sharey=True)
    rivals = [name for name in CONTENDERS if any(name in line.ratios for line in quickest)]
    colours = {name: f"C{CONTENDERS.index(name)}" for name in rivals}
    for place, axes in enumerate(grid.flat):
        axes.tick_params(labelbottom=True)
        if place >= len(panels):
            axes.set_axis_off()
            continue
        mine = [line for line in quickest if (line.case.job, line.case.variant) == panels[place]]
        vocab = max(line.case.vocab for line in mine)
        _panel(axes, [line for line in mine if line.case.vocab == vocab], colours)
        axes.set_title(f"{panels[place][0]}, vocabulary {vocab:,}\n{panels[place][1]}", fontsize=9)
    _scales(grid[0, 0], sorted({line.case.batch for line in quickest}))
    handles = [Line2D([], [], color=colours[name], marker="o", label=name) for name in rivals]
    handles.append(Line2D([], [], color="grey", linestyle="--", marker="s", label="flat logits"))
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    figure.supylabel(f"time over {MOTET}'s (above 1: {MOTET} is faster)")
    figure.supxlabel("batch")
    return figure


def _scales(axes: Axes, batches: Sequence[int]) -> None:
    """Logarithmic, with plain numbers; all panels share them."""
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    axes.set_xscale("log", base=2)
    axes.set_xticks(batches, [str(batch) for batch in batches])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(batches[0] / 1.6, batches[-1] * 1.6)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_locator(NullLocator())


def _panel(axes: Axes, lines: Sequence[Line], colours: dict[str, str]) -> None:
    curves = [(name, mood) for name in colours for mood in MOODS]
    for place, (name, mood) in enumerate(curves):
        points = sorted(
            (line.case.batch, line.ratios[name])
            for line in lines
            if line.case.mood == mood and name in line.ratios
        )
        if not points:
            continue
        beside = 1.06 ** (place - (len(curves) - 1) / 2)  # or error bars would lie on one another
        axes.errorbar(
            [batch * beside for batch, _ in points],
            [ratio.value for _, ratio in points],
            yerr=[
                [ratio.value - ratio.low for _, ratio in points],
                [ratio.high - ratio.value for _, ratio in points],
            ],
            color=colours[name],
            marker="s" if mood == FLAT else "o",
            markersize=4,
            linestyle="--" if mood == FLAT else "-",
            linewidth=1,
            markerfacecolor="none" if mood == FLAT else colours[name],
            capsize=2,
        )
    axes.axhline(1.0, color="grey", linewidth=0.8)
    axes.grid(axis="y", alpha=0.25)
