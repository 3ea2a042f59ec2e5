"""The loss over the steps, as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def draw(lines: Sequence[Mapping[str, Any]], folder: Path, title: str) -> None:
    """Writes loss.svg and loss.png into `folder`: training and held-out loss, and accuracy where there is one."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    loss = figure.add_subplot()
    _curve(loss, lines, "loss", "training", "tab:blue", "-")
    _curve(loss, lines, "eval_loss", "held out", "tab:blue", "o--")
    loss.set(xlabel="steps", ylabel="loss", title=title)
    if any("accuracy" in line or "eval_accuracy" in line for line in lines):
        accuracy = loss.twinx()
        _curve(accuracy, lines, "accuracy", "training accuracy", "tab:orange", "-")
        _curve(accuracy, lines, "eval_accuracy", "held-out accuracy", "tab:orange", "o--")
        accuracy.set(ylabel="accuracy", ylim=(0, 1.02))
    figure.legend(loc="outside lower center", ncols=4, frameon=False)
    save(figure, folder, "loss")


def save(figure: Any, folder: Path, name: str) -> None:
    """Writes `figure` as NAME.svg and NAME.png, beside and renamed into place."""
    for ending in ("svg", "png"):
        beside = folder / f"{name}.new.{ending}"
        figure.savefig(beside)
        beside.replace(folder / f"{name}.{ending}")


def _curve(
    axes: Any, lines: Sequence[Mapping[str, Any]], key: str, label: str, colour: str, style: str
) -> None:
    steps, values = points(lines, "step", key)
    if steps:
        axes.plot(steps, values, style, color=colour, label=label, linewidth=1, markersize=3)


def points(lines: Sequence[Mapping[str, Any]], across: str, key: str) -> tuple[list[float], list[float]]:
    """Where lines hold `key`: their `across`, and its values."""
    found = [(line[across], line[key]) for line in lines if key in line]
    return [place for place, _ in found], [value for _, value in found]
