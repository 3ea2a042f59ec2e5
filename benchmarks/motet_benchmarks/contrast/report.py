"""The contrast benchmark's tables, page, plot and files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from motet_benchmarks import results
from motet_benchmarks.contrast.figures import Line, lines
from motet_benchmarks.machine import Circumstances
from motet_benchmarks.results import Grid
from motet_benchmarks.statistics import Share
from motet_benchmarks.trials import Trial

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from motet_benchmarks.contrast.run import Measured, Questions

STEM = "contrast"


def accuracy_grid(found: Sequence[Line]) -> Grid:
    """Accuracy by family, and what contrast changes."""
    return Grid(
        "Accuracy on the test split, in % [95% interval]",
        ("family", "problems", "plain", "contrast", "difference", "gains", "losses", ""),
        tuple(
            (
                line.name,
                str(line.plain.of),
                _percent(line.plain),
                _percent(line.contrast),
                f"{100 * line.difference.value:+.1f} "
                f"[{100 * line.difference.low:+.1f}, {100 * line.difference.high:+.1f}]",
                str(line.difference.gains),
                str(line.difference.losses),
                line.verdict,
            )
            for line in found
        ),
    )


def sweep_grid(trials: Sequence[Trial]) -> Grid:
    """Accuracy on the validation split, by strength and plausibility."""
    plausibilities = sorted({trial.plausibility for trial in trials})
    at = {(trial.strength, trial.plausibility): trial.share for trial in trials}
    return Grid(
        "Accuracy on the validation split, in % [95% interval]: strength by plausibility",
        ("strength", *(f"{plausibility:g}" for plausibility in plausibilities)),
        tuple(
            (f"{strength:g}", *(_percent(at[strength, plausibility]) for plausibility in plausibilities))
            for strength in sorted({trial.strength for trial in trials})
        ),
    )


def write(
    folder: Path, questions: Questions, measured: Measured, where: Circumstances
) -> tuple[list[Grid], list[Path]]:
    """Write contrast.json, .csv, .md and .png into `folder`; returns the tables in them and the paths."""
    found = lines(measured.outcomes)
    grids = [accuracy_grid(found), *([sweep_grid(measured.trials)] if measured.trials else [])]
    facts = {
        "circumstances": asdict(where),
        "model": measured.model,
        "contrast": dict(measured.contrast),
        "count": questions.count,
        "tuning": questions.tuning if measured.trials else None,
        "seed": questions.seed,
        "tokens": questions.tokens,
        "trials": [asdict(trial) for trial in measured.trials],
        "overall": asdict(found[0]),
        "families": [{**asdict(line), "verdict": line.verdict} for line in found[1:]],
    }
    paths = results.write(
        folder,
        STEM,
        facts=facts,
        samples=measured.outcomes,
        markdown=page(grids, questions, measured, where),
        figure=plot(found),
    )
    return grids, paths


def page(grids: Sequence[Grid], questions: Questions, measured: Measured, where: Circumstances) -> str:
    """The Markdown page: how it was measured, then the tables."""
    applied = ", ".join(f"{name} {value}" for name, value in measured.contrast.items())
    chosen = (
        f"Strength and plausibility were chosen on {questions.tuning} validation problems of each family."
        if measured.trials
        else "Strength and plausibility were given, not chosen on these problems."
    )
    parts = [
        "# Contrast",
        f"`{where.command}` on {where.sentence()}.",
        f"Model {measured.model}, greedy, against itself with contrast ({applied}), on the same {questions.count} test "
        f"problems of each family, graded exactly. {chosen} Accuracies have Wilson intervals, differences those of "
        "Bonett and Price for pairs. The verdicts are not corrected for the number of families: where there is no "
        "difference at all, about one in twenty would still show one.",
    ]
    for grid in grids:
        parts += [f"## {grid.title}", grid.markdown()]
    parts.append(f"![accuracy by family]({STEM}.png)")
    return "\n\n".join(parts)


def plot(found: Sequence[Line]) -> Figure:
    """Two bars a family, plain and contrast, with their intervals."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 1.5 + 0.32 * len(found)), layout="constrained")
    axes = figure.subplots()
    height = 0.4
    for offset, label in ((-height / 2, "plain"), (height / 2, "contrast")):
        shares = [line.plain if label == "plain" else line.contrast for line in found]
        values = [share.value for share in shares]
        axes.barh(
            [place + offset for place in range(len(found))],
            values,
            height,
            xerr=[
                [max(0.0, share.value - share.low) for share in shares],
                [max(0.0, share.high - share.value) for share in shares],
            ],
            error_kw={"linewidth": 0.8, "ecolor": "grey"},
            label=label,
        )
    axes.set_yticks(range(len(found)), [line.name for line in found])
    axes.set_ylim(len(found) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.set_xlabel("right answers, with Wilson 95% intervals")
    figure.legend(loc="outside upper center", ncols=2)
    return figure


def _percent(share: Share) -> str:
    return f"{100 * share.value:.1f} [{100 * share.low:.1f}, {100 * share.high:.1f}]"
