"""What other benchmarks have found, beside a run: a judge's verdicts, a load on the server, the kernels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.load.records import LOAD_FILE, Load
from motet_benchmarks.strategies import judging_report
from motet_benchmarks.strategies.judging_session import JUDGEMENTS_FILE, load
from motet_benchmarks.strategies.report import kernels, plot_load
from motet_benchmarks.strategies.report.analysis import Analysis
from motet_benchmarks.strategies.report.page import Section
from motet_benchmarks.strategies.report.summary import where

#: Of the circumstances those that say what was measured on.
MACHINE = ("cpu", "cores", "gpus", "system")


def joined(folder: Path, found: Analysis) -> list[Section]:
    """A section for the judgements in the run's folder, one for a load and one for each device's kernels.

    The latter two are looked for in the folder and, where it has none, beside it, where `motet bench all` leaves loads.
    A file that can't be read gets a section that says so: the rest of the page is as good without it.
    """
    sections = []
    if (folder / JUDGEMENTS_FILE).exists():
        sections.append(_section("Win rates by a judge", folder, lambda path: judged(path, found)))
    for path in _files(folder, LOAD_FILE):
        sections.append(_section("Serving under load", path, lambda path: served(path, found)))
    for place, path in enumerate(_files(folder, kernels.FILES)):
        key = f"kernels{place}"
        sections.append(_section("Kernels", path, partial(kernels.section, key=key)))
    return [elsewhere(each, found.table.run.circumstances) for each in sections]


def elsewhere(section: Section, here: Mapping[str, Any]) -> Section:
    """The section with a caution where it was measured on another machine or with other versions than the run."""
    if section.circumstances is None:
        return section
    there, own = _same(section.circumstances), _same(here)
    unlike = [
        f"{name} {there.get(name, 'none')}, not {own.get(name, 'none')}"
        for name in {**there, **own}
        if there.get(name) != own.get(name)
    ]
    if not unlike:
        return section
    said = f"Not measured as the strategies above: {'; '.join(unlike)}."
    return replace(section, cautions=(*section.cautions, said))


def judged(folder: Path, found: Analysis) -> Section:
    """What a judge says of the strategies' answers."""
    run = found.recorded.served
    verdicts = judging_report.verdicts(run, found.recorded.samples, load(folder))
    return Section(
        "Win rates by a judge",
        (
            "Every pair was shown in both orders. A judge that goes by the order flips, and a flipped pair is a tie; "
            "half of the pairs is no preference.",
        ),
        grids=tuple(judging_report.grids(run.strategies[0].name, verdicts)),
    )


def served(path: Path, run: Analysis) -> Section:
    """What a load did to servers, with a caution where they were asked for another model than the run's."""
    from motet_benchmarks.load import report

    found = Load.read(path)
    others = sorted({server.model for server in found.servers} - {run.table.run.model})
    return Section(
        "Serving under load",
        (
            f"Measured by {found.command} on {where(found.circumstances)}.",
            "Completed are the answers that ended while it was measured, those to requests of the warm-up among them: "
            "they can be more than were offered.",
            *report.remarks(found),
        ),
        tuple(plot_load.plots(found)),
        tuple(report.grids(found)),
        cautions=(f"Of another model than the strategies above: {', '.join(others)}.",) if others else (),
        circumstances=found.circumstances,
    )


def _files(folder: Path, pattern: str) -> list[Path]:
    return sorted(folder.glob(pattern)) or sorted(folder.resolve().parent.glob(pattern))


def _same(circumstances: Mapping[str, Any]) -> dict[str, str]:
    """What of a measurement's circumstances must be the same for another one to be of the same thing."""
    found = {name: value for name in MACHINE if (value := circumstances.get(name)) is not None}
    versions = circumstances.get("versions")
    if isinstance(versions, Mapping):
        found.update(versions)
    return {
        name: ", ".join(map(str, value)) or "none" if isinstance(value, (list, tuple)) else str(value)
        for name, value in found.items()
    }


def _section(title: str, path: Path, make: Callable[[Path], Section]) -> Section:
    try:
        return make(path)
    except BenchmarkError as error:
        return Section(title, (f"Left out: {error}",))
