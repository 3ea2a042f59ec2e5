"""The kernel benchmark's results, as a section of the page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.results import Grid
from motet_benchmarks.strategies.report.page import Section
from motet_benchmarks.strategies.report.summary import where
from motet_benchmarks.strategies.report.svg import COLOURS, INK, Plot, canvas, logarithmic, shorten

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


def section(path: Path) -> Section:
    """The section of one device. Raises BenchmarkError for a file that doesn't hold kernel results."""
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
    plots = (_plot(found, rivals, path.stem),) if rivals and found.lines else ()
    return Section(f"Kernels on {found.device.name}", findings, plots, (_grid(found, rivals),))


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


def _plot(found: _Results, rivals: list[str], stem: str) -> Plot:
    jobs = list(dict.fromkeys(line.case.job for line in found.lines))
    with canvas(height=1.3 + 0.32 * len(jobs) * len(rivals)) as drawn:
        axes = drawn.figure.subplots()
        rows: list[str] = []
        for job in jobs:
            for name in rivals:
                lines = [line for line in found.lines if line.case.job == job and name in line.ratios]
                if not lines:
                    continue
                for line in lines:
                    ratio = line.ratios[name].value
                    axes.plot(
                        [ratio],
                        [len(rows)],
                        marker="o",
                        markersize=5,
                        alpha=0.7,
                        color=COLOURS[rivals.index(name) % len(COLOURS)],
                        gid=drawn.tip(f"{line.case}: {name} takes {ratio:.2f} times as long"),
                    )
                rows.append(f"{shorten(job, 16)}, {shorten(name, 16)}")
        axes.axvline(1, color=INK, linestyle=":", linewidth=1)
        logarithmic(axes)
        axes.set_yticks(range(len(rows)), rows)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlabel("times as long as motet")
        label = "How many times as long as motet others take: " + "; ".join(
            f"{line.case} {name} {ratio.value:.2f}"
            for line in found.lines
            for name, ratio in line.ratios.items()
        )
        return Plot(
            "Others' time over motet's",
            "One point for each case; right of the line motet is faster.",
            label,
            drawn.svg(stem, label),
        )


def _shown(found: _Spread | None, scale: float) -> str:
    if found is None:
        return "–"
    value, low, high = (scale * each for each in (found.value, found.low, found.high))
    return f"{value:.3g} [{low:.3g}, {high:.3g}]"
