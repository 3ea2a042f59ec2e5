"""A PPO run's curves, as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from motet_alignment.train.plot import points, save

_FIRST, _SECOND, _HELD, _GOLD = "tab:blue", "tab:orange", "tab:green", "goldenrod"
_COLUMNS = 3


@dataclass(frozen=True, slots=True)
class _Panel:
    """What one pair of axes shows of the figures of each iteration: at the left, and at the right."""

    title: str
    left: tuple[str, str]
    right: tuple[str, str] | None = None
    #: Where 0 belongs to what is seen.
    from_zero: bool = False


_PANELS = (
    _Panel("KL from the reference", ("kl", "nats an answer"), ("kl_coefficient", "coefficient")),
    _Panel("entropy", ("entropy", "nats a token"), None, True),
    _Panel(
        "clipping", ("clip_fraction", "share of tokens"), ("update_kl", "KL of an update, nats a token"), True
    ),
    _Panel("values", ("value_loss", "value loss"), ("explained_variance", "explained variance"), True),
    _Panel("answers", ("length", "tokens"), ("ended", "share that ended"), True),
)


def draw(lines: Sequence[Mapping[str, Any]], folder: Path, title: str, *, target: float | None) -> None:
    """Writes curves.svg and curves.png into `folder`; `target`: the KL that the run aims at, in nats an answer.

    Panels of which there are no figures, such as values for rloo, are left out.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = [panel for panel in _PANELS if any(panel.left[0] in line for line in lines)]
    rows = -(-(1 + len(panels)) // _COLUMNS)
    figure = Figure(figsize=(13, 3.6 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    _rewards(figure.add_subplot(rows, _COLUMNS, 1), lines)
    for place, panel in enumerate(panels, 2):
        axes = figure.add_subplot(rows, _COLUMNS, place)
        _draw_panel(axes, panel, lines, target if panel.left[0] == "kl" else None)
    save(figure, folder, "curves")


def _rewards(axes: Any, lines: Sequence[Mapping[str, Any]]) -> None:
    """Training rewards and their running mean; held-out ones, and gold, with 95% bands."""
    axes.set(title="reward", xlabel="iteration")
    _trace(axes, lines, "reward", _FIRST, "training")
    _band(axes, lines, "eval_reward", _HELD, "held out")
    if any("eval_gold" in line for line in lines):
        twin = axes.twinx()
        _band(twin, lines, "eval_gold", _GOLD, "gold, held out")
        _named(twin, "gold", _GOLD)
        handles, labels = twin.get_legend_handles_labels()
    else:
        handles, labels = [], []
    mine, called = axes.get_legend_handles_labels()
    axes.legend([*mine, *handles], [*called, *labels], frameon=False, fontsize="small", loc="best")


def _draw_panel(axes: Any, panel: _Panel, lines: Sequence[Mapping[str, Any]], target: float | None) -> None:
    axes.set(title=panel.title, xlabel="iteration")
    _trace(axes, lines, panel.left[0], _FIRST)
    held = points(lines, "iteration", f"eval_{panel.left[0]}")
    if held[0]:
        axes.plot(*held, "o", color=_HELD, markersize=3, label="held out")
    if target is not None:
        axes.axhline(target, color="grey", linestyle="--", linewidth=1, label=f"target {target:g}")
    if held[0] or target is not None:
        axes.legend(frameon=False, fontsize="small")
    _named(axes, panel.left[1], _FIRST)
    if panel.from_zero:
        axes.set_ylim(bottom=0)
    if panel.right is None or not any(panel.right[0] in line for line in lines):
        return
    twin = axes.twinx()
    _trace(twin, lines, panel.right[0], _SECOND)
    _named(twin, panel.right[1], _SECOND)
    if panel.right[0] in ("explained_variance", "ended"):
        twin.set_ylim(top=1.02)


def _trace(
    axes: Any, lines: Sequence[Mapping[str, Any]], key: str, colour: str, label: str | None = None
) -> None:
    """Faintly what each iteration said, and its running mean over a twentieth of them."""
    across, values = points(lines, "iteration", key)
    axes.plot(across, values, color=colour, alpha=0.25, linewidth=0.8)
    # One iteration alone makes no line.
    style = "-" if len(across) > 1 else "o"
    axes.plot(
        across, _running(values, max(1, len(values) // 20)), style, color=colour, linewidth=1.5, label=label
    )


def _band(axes: Any, lines: Sequence[Mapping[str, Any]], key: str, colour: str, label: str) -> None:
    across, values = points(lines, "iteration", key)
    if across:
        axes.plot(across, values, "o-", color=colour, markersize=3, linewidth=1.2, label=label)
        low, high = (points(lines, "iteration", f"{key}_{side}")[1] for side in ("low", "high"))
        axes.fill_between(across, low, high, color=colour, alpha=0.2, linewidth=0)


def _named(axes: Any, label: str, colour: str) -> None:
    axes.set_ylabel(label, color=colour)
    axes.tick_params(axis="y", labelcolor=colour)


def _running(values: Sequence[float], width: int) -> list[float]:
    """At each place the mean of the last `width` values, of fewer where there are no more."""
    sums = [0.0, *accumulate(values)]
    return [(sums[end] - sums[max(0, end - width)]) / min(width, end) for end in range(1, len(sums))]
