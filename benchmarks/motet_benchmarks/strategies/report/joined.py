"""What other benchmarks have found, beside a run: a judge's verdicts, a load on the server, the kernels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.load.records import LOAD_FILE, Load
from motet_benchmarks.options import RESULTS
from motet_benchmarks.strategies import judging_report
from motet_benchmarks.strategies.judging_session import JUDGEMENTS_FILE, load
from motet_benchmarks.strategies.report import kernels, plot_load
from motet_benchmarks.strategies.report.analysis import Analysis
from motet_benchmarks.strategies.report.page import Section
from motet_benchmarks.strategies.report.summary import where


def joined(folder: Path, found: Analysis) -> list[Section]:
    """A section for the judgements in the run's folder, one for a load and one for each device's kernels.

    The latter two are looked for in the folder and, where it has none, in benchmarks/results. A file that can't be read
    gets a section that says so: the rest of the page is as good without it.
    """
    sections = []
    if (folder / JUDGEMENTS_FILE).exists():
        sections.append(_section("Win rates by a judge", folder, lambda path: judged(path, found)))
    for path in _files(folder, LOAD_FILE):
        sections.append(_section("Serving under load", path, served))
    for path in _files(folder, kernels.FILES):
        sections.append(_section("Kernels", path, kernels.section))
    return sections


def judged(folder: Path, found: Analysis) -> Section:
    """What a judge says of the strategies' answers."""
    run = found.table.run
    verdicts = judging_report.verdicts(run, found.recorded.samples, load(folder))
    return Section(
        "Win rates by a judge",
        (
            "Every pair was shown in both orders. A judge that goes by the order flips, and a flipped pair is a tie; "
            "half of the pairs is no preference.",
        ),
        grids=tuple(judging_report.grids(run.strategies[0].name, verdicts)),
    )


def served(path: Path) -> Section:
    """What a load did to the server."""
    from motet_benchmarks.load import report

    found = Load.read(path)
    return Section(
        "Serving under load",
        (f"Measured by {found.command} on {where(found.circumstances)}.", *report.remarks(found)),
        tuple(plot_load.plots(found)),
        tuple(report.grids(found)),
    )


def _files(folder: Path, pattern: str) -> list[Path]:
    return sorted(folder.glob(pattern)) or sorted(RESULTS.glob(pattern))


def _section(title: str, path: Path, make: Callable[[Path], Section]) -> Section:
    try:
        return make(path)
    except BenchmarkError as error:
        return Section(title, (f"Left out: {error}",))
