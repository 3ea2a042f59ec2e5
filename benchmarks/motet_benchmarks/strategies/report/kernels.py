"""The kernel benchmark's results, as a section of the page."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.results import Grid
from motet_benchmarks.strategies.report.labels import explained, labels
from motet_benchmarks.strategies.report.page import Section
from motet_benchmarks.strategies.report.summary import where
from motet_benchmarks.strategies.report.svg import COLOURS, INK, Plot, canvas, logarithmic

#: What the files call motet's own kernels; taken from the benchmark itself it would bring torch with it.
MOTET = "motet"

#: One file for each kind of device.
FILES = "kernels-*.json"

_READ = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class _Spread(BaseModel):
    model_config = _READ
    value: float
    low: float
    high: float


class _Case(BaseModel):
    model_config = _READ
    job: str
    subject: str
    how: str
    mood: str
    dtype: str
    batch: int
    vocab: int

    def __str__(self) -> str:
        words = " ".join(word for word in (self.job, self.subject, self.how, self.mood) if word)
        return f"{words}, {self.batch} x {self.vocab:,}"


class _Line(BaseModel):
    model_config = _READ
    case: _Case
    mode: str
    seconds: Mapping[str, _Spread]
    ratios: Mapping[str, _Spread]


class _Device(BaseModel):
    model_config = _READ
    name: str


class _Results(BaseModel):
    model_config = _READ
    circumstances: Mapping[str, Any]
    device: _Device
    lines: tuple[_Line, ...]


def section(path: Path, key: str = "kernels") -> Section:
    """The section of one device; `key` keeps its ids apart from other sections'.

    Raises BenchmarkError for a file that doesn't hold kernel results.
    """
    try:
        found = _Results.model_validate_json(path.read_bytes())
    except OSError as problem:
        raise BenchmarkError(f"{path}: can't be read: {problem.strerror or problem}") from None
    except ValidationError as problem:
        first = problem.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise BenchmarkError(f"{path}: no kernel results: {place}: {first['msg']}") from None
    rivals = list(dict.fromkeys(name for line in found.lines for name in line.ratios))
    findings = (
        f"Measured on {where(found.circumstances)}.",
        "Medians of rounds side by side, with quartiles; a ratio above 1 is a rival that takes longer than motet.",
    )
    plots = (_plot(found, rivals, key),) if rivals else ()
    return Section(
        f"Kernels on {found.device.name}",
        findings,
        plots,
        (_grid(found, rivals),),
        key=key,
        circumstances=found.circumstances,
    )


def _grid(found: _Results, rivals: list[str]) -> Grid:
    return Grid(
        "Milliseconds of motet's kernels, and the others' as multiples [quartiles]",
        ("case", "called", "logits", "motet, ms", *rivals),
        tuple(
            (
                str(line.case),
                line.mode,
                line.case.dtype,
                _shown(line.seconds.get(MOTET), 1000),
                *(_shown(line.ratios.get(name), 1) for name in rivals),
            )
            for line in found.lines
        ),
    )


def _plot(found: _Results, rivals: list[str], key: str) -> Plot:
    jobs = list(dict.fromkeys(line.case.job for line in found.lines))
    rows = {
        (job, name): lines
        for job, name in product(jobs, rivals)
        if (lines := [line for line in found.lines if line.case.job == job and name in line.ratios])
    }
    said = {row: ", ".join(row) for row in rows}
    shown = labels(said.values(), 24)
    with canvas(height=0.8 + 0.24 * len(rows)) as drawn:
        axes = drawn.figure.subplots()
        for place, ((_, name), lines) in enumerate(rows.items()):
            for line in lines:
                ratio = line.ratios[name].value
                axes.plot(
                    [ratio],
                    [place],
                    marker="o",
                    markersize=5,
                    alpha=0.7,
                    color=COLOURS[rivals.index(name) % len(COLOURS)],
                    gid=drawn.tip(f"{line.case}: {name} takes {ratio:.2f} times as long"),
                )
        axes.axvline(1, color=INK, linestyle=":", linewidth=1)
        logarithmic(axes)
        axes.set_yticks(range(len(rows)), [shown[said[row]] for row in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlabel("times as long as motet")
        label = "How many times as long as motet others take, the median of cases: " + "; ".join(
            f"{said[row]} {median(line.ratios[row[1]].value for line in lines):.2f} of {len(lines)}"
            for row, lines in rows.items()
        )
        return Plot(
            "Others' time over motet's",
            f"One point for each case; right of the line motet is faster.{explained(shown)}",
            label,
            drawn.svg(key, label, f"{key}-table0"),
        )


def _shown(found: _Spread | None, scale: float) -> str:
    if found is None:
        return "–"
    value, low, high = (scale * each for each in (found.value, found.low, found.high))
    return f"{value:.3g} [{low:.3g}, {high:.3g}]"
