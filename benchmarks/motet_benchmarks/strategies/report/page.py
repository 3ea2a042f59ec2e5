"""The page: one HTML file that needs no other, and its summary in Markdown."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from motet_benchmarks.results import Grid, marked
from motet_benchmarks.strategies.records import TaskRecord
from motet_benchmarks.strategies.report import plot_latency, plot_quality, plot_sweeps, summary, tables
from motet_benchmarks.strategies.report.analysis import Analysis
from motet_benchmarks.strategies.report.cautions import cautions
from motet_benchmarks.strategies.report.examples import Example, cut, examples
from motet_benchmarks.strategies.report.quality import COSTS, quality
from motet_benchmarks.strategies.report.svg import Plot

#: The most rows of a table in the summary.
LONGEST = 60


@dataclass(frozen=True, slots=True)
class Section:
    """One part of the page."""

    title: str
    findings: tuple[str, ...]
    plots: tuple[Plot, ...] = ()
    grids: tuple[Grid, ...] = ()
    examples: tuple[Example, ...] = ()
    before: Mapping[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    """By an example's problem the messages before its prompt: who said it, and what."""
    cautions: tuple[str, ...] = ()
    key: str | None = None
    """Begins the ids of its tables, where plots refer to them."""
    circumstances: Mapping[str, Any] | None = None
    """The machine, versions and date of a measurement that isn't the run itself."""


def sections(found: Analysis) -> list[Section]:
    """A section for each task."""
    return [
        _section(found, task, f"t{place}")
        for place, task in enumerate(found.table.run.tasks)
        if any(of == task.name for of, _ in found.table.cells())
    ]


def html(found: Analysis, parts: Sequence[Section]) -> str:
    """The whole page. Whatever isn't a plot is escaped; no script runs but the page's own, by its hash."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    package = __name__.rpartition(".")[0]
    environment = Environment(
        loader=PackageLoader(package, "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script, style = (
        files(package).joinpath("templates", name).read_text(encoding="utf-8")
        for name in ("page.js", "page.css")
    )
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template("page.html").render(
        found=found,
        summary=summary,
        cautions=cautions(found),
        sections=parts,
        style=style,
        script=script,
        policy=f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'",
    )


def markdown(found: Analysis, parts: Sequence[Section]) -> str:
    """The findings and tables, without plots and examples."""
    run = found.table.run
    lines = [
        "# Strategies",
        marked(summary.asked(found)),
        marked(f"{run.command}, on {summary.where(run.circumstances)}."),
        "Plots and answers side by side are in `report.html`, all figures in `report.json`.",
        _bullets(cautions(found)),
    ]
    for part in parts:
        lines += [f"## {marked(part.title)}", _bullets((*part.cautions, *part.findings))]
        lines += [text for grid in part.grids for text in (f"### {marked(grid.title)}", _table(grid))]
    lines += ["## How it was worked out", _bullets(summary.methods(found))]
    return "\n\n".join(line for line in lines if line) + "\n"


def _table(grid: Grid) -> str:
    rows = len(grid.rows)
    return grid.markdown() if rows <= LONGEST else f"{rows:,} rows, which are in `report.html`."


def _bullets(sentences: Sequence[str]) -> str:
    return "\n".join(f"- {marked(sentence)}" for sentence in sentences)


def _section(found: Analysis, task: TaskRecord, key: str) -> Section:
    shown = tuple(examples(found, task.name))
    grids = tuple(tables.of_task(found, task.name, task.metric))
    return Section(
        f"{task.name}: {task.problems:,} problems",
        tuple(summary.findings(found, task.name, task.metric)),
        tuple(_plots(found, task.name, task.metric, key, f"{key}-table{len(grids) - 1}")),
        grids,
        shown,
        _before(found, task.name, {each.problem for each in shown}),
        key=key,
    )


def _before(found: Analysis, task: str, problems: Collection[str]) -> dict[str, tuple[tuple[str, str], ...]]:
    """By problem the messages before the last one, without which an answer can't be judged."""
    return {
        sample.problem: tuple(
            (message.get("role", "message"), cut(message.get("content", ""))) for message in sample.context
        )
        for sample in found.recorded.samples
        if sample.task == task and sample.problem in problems
    }


def _plots(found: Analysis, task: str, metric: str, key: str, last: str) -> list[Plot]:
    plots = []
    if (by := quality(found, task, metric)) is not None:
        plots += [
            plot_quality.by_strategy(found, by, f"{key}s"),
            *(
                plot_quality.against_cost(found, by, figure, f"{key}c{place}")
                for place, figure in enumerate(COSTS)
            ),
            *plot_sweeps.sweeps(found, by, f"{key}w"),
        ]
    plots += plot_latency.curves(found, task, f"{key}l")
    if found.scored(task) and len(found.table.families(task)) > 1:
        plots.append(plot_quality.by_family(found, task, metric, f"{key}f", last))
    return plots
