"""The tables and files of what the voices gain on the gym."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from motet_benchmarks import results
from motet_benchmarks.machine import Circumstances
from motet_benchmarks.results import Grid
from motet_benchmarks.statistics import Difference, Share
from motet_benchmarks.voices.asking import Answered
from motet_benchmarks.voices.figures import Line, Tally, families, lines, recommended, tallies, verdict
from motet_benchmarks.voices.page import STEM, page
from motet_benchmarks.voices.plan import Plan
from motet_benchmarks.voices.plot import plot
from motet_benchmarks.voices.series import Series


@dataclass(frozen=True, slots=True)
class Row:
    """A setting on the problems of one family or of all, as a line of the CSV."""

    problems: str
    """Direct, or worked."""
    series: str
    setting: str
    family: str
    of: int
    right: int
    low: float
    high: float
    plain: int
    gains: int
    losses: int


def recommended_grid(plan: Plan, answered: Answered, found: Sequence[Line], worked: Sequence[Line]) -> Grid:
    """What the validation split chose of every series, told on the test split."""
    direct = {(line.series, line.setting): line for line in found}
    stepwise = {(line.series, line.setting): line for line in worked}
    rows = []
    for choice in answered.choices:
        line = direct.get((choice.series, choice.setting))
        steps = stepwise.get((choice.series, choice.setting))
        if line is None:
            rows.append((choice.series, f"nothing: {choice.setting} is best", *("" for _ in range(7))))
            continue
        rows.append(
            (
                choice.series,
                choice.setting,
                str(line.right.of),
                _percent(line.plain),
                _percent(line.right),
                points(line.difference),
                f"{line.difference.gains}, {line.difference.losses}",
                line.verdict,
                "" if steps is None else f"{points(steps.difference)}, {steps.verdict}",
            )
        )
    return Grid(
        "Chosen on the validation split, told on the test split, in % [95% interval]",
        (
            "series",
            "chosen",
            "problems",
            "plain",
            "right",
            "difference, points",
            "gains, losses",
            "",
            "asked for steps: difference, points",
        ),
        tuple(rows),
    )


def series_grid(series: Series, answered: Answered, found: Sequence[Line]) -> Grid | None:
    """All settings of a series on the test split; None where the server would answer in none of them."""
    own = [line for line in found if line.series == series.name]
    if not own:
        return None
    choice = next((choice for choice in answered.choices if choice.series == series.name), None)
    trials = {} if choice is None else {trial.setting: trial.share for trial in choice.trials}
    fixed = series.fixed is not None
    rows = []
    for line in own:
        mark = " (chosen)" if choice is not None and choice.setting == line.setting else ""
        rows.append(
            (
                f"{line.setting}{mark}",
                _percent(line.right),
                points(line.difference),
                str(line.difference.gains),
                str(line.difference.losses),
                str(line.changed),
                line.verdict,
                *([_over(line)] if fixed else []),
                *([_percent(trials[line.setting]) if line.setting in trials else ""] if trials else []),
            )
        )
    return Grid(
        f"{series.name}: {own[0].right.of} problems, plain {_percent(own[0].plain)}",
        (
            "setting",
            "right, %",
            "difference, points",
            "gains",
            "losses",
            "changed",
            "",
            *(["over the fixed strength, points"] if fixed else []),
            *(["validation, %"] if trials else []),
        ),
        tuple(rows),
    )


def worked_grid(found: Sequence[Line]) -> Grid:
    """Recommended and adaptive settings where steps are asked for."""
    return Grid(
        f"Asked for their steps: {found[0].right.of} problems",
        (
            "series",
            "setting",
            "plain, %",
            "right, %",
            "difference, points",
            "gains",
            "losses",
            "",
            "over fixed",
        ),
        tuple(
            (
                line.series,
                line.setting,
                _percent(line.plain),
                _percent(line.right),
                points(line.difference),
                str(line.difference.gains),
                str(line.difference.losses),
                line.verdict,
                _over(line),
            )
            for line in found
        ),
    )


def family_grid(found: Sequence[Line]) -> Grid:
    """What the recommended settings change, family by family."""
    series = list(dict.fromkeys(line.series for line in found))
    at = {(line.family, line.series): line for line in found}
    return Grid(
        "By family: points that the recommended settings gain on the test split [95% interval]",
        ("family", *series),
        tuple(
            (
                str(family),
                *(points(at[family, name].difference) if (family, name) in at else "" for name in series),
            )
            for family in dict.fromkeys(line.family for line in found)
        ),
    )


def write(
    folder: Path, plan: Plan, answered: Answered, where: Circumstances
) -> tuple[list[Grid], list[Path]]:
    """Write voices.json, .csv, .md and .png into `folder`; returns the tables in them and the paths."""
    found, worked = lines(answered.direct), lines(answered.worked)
    by_family = families(recommended(answered))
    each = [
        *(("direct", one) for one in tallies(answered.direct)),
        *(("worked", one) for one in tallies(answered.worked)),
    ]
    grids = [
        recommended_grid(plan, answered, found, worked),
        *(grid for series in plan.series if (grid := series_grid(series, answered, found)) is not None),
        *([worked_grid(worked)] if worked else []),
        *([family_grid(by_family)] if by_family else []),
    ]
    facts = {
        "circumstances": asdict(where),
        "plan": {name: value for name, value in asdict(plan).items() if name != "series"},
        "series": {
            series.name: {name: one.facts() for name, one in series.settings.items()}
            for series in plan.series
        },
        "choices": [asdict(choice) for choice in answered.choices],
        "direct": [_facts(line) for line in found],
        "worked": [_facts(line) for line in worked],
        "recommended_by_family": [_facts(line) for line in by_family],
        "refused": dict(answered.refused),
    }
    paths = results.write(
        folder,
        STEM,
        facts=facts,
        samples=[_row(kind, tally) for kind, tally in each],
        markdown=page(grids, plan, answered, where),
        figure=plot(plan, answered, found),
    )
    return grids, paths


def points(found: Difference) -> str:
    """A difference in percentage points."""
    return f"{100 * found.value:+.1f} [{100 * found.low:+.1f}, {100 * found.high:+.1f}]"


def _percent(found: Share) -> str:
    return f"{100 * found.value:.1f} [{100 * found.low:.1f}, {100 * found.high:.1f}]"


def _over(line: Line) -> str:
    return "" if line.over_fixed is None else f"{points(line.over_fixed)}, {verdict(line.over_fixed)}"


def _facts(line: Line) -> dict[str, object]:
    return {**asdict(line), "verdict": line.verdict}


def _row(kind: str, tally: Tally) -> Row:
    return Row(
        problems=kind,
        series=tally.series,
        setting=tally.setting,
        family=tally.family,
        of=tally.right.of,
        right=tally.right.right,
        low=tally.right.low,
        high=tally.right.high,
        plain=tally.plain.right,
        gains=tally.gains,
        losses=tally.losses,
    )
