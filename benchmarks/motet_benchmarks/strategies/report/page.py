"""The page: one HTML file that needs no other, and its summary in Markdown."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from motet_benchmarks.results import Grid
from motet_benchmarks.strategies.report import (
    plot_latency,
    plot_quality,
    plot_sweeps,
    summary,
    tables,
)
from motet_benchmarks.strategies.report.analysis import Analysis
from motet_benchmarks.strategies.report.examples import Example, examples
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


def sections(found: Analysis) -> list[Section]:
    """A section for each task."""
    return [
        Section(
            f"{task.name}: {task.problems:,} problems",
            tuple(summary.findings(found, task.name, task.metric)),
            tuple(_plots(found, task.name, task.metric, f"task-{place}")),
            tuple(tables.of_task(found, task.name, task.metric)),
            tuple(examples(found, task.name)),
        )
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
        summary.asked(found),
        f"`{run.command}` on {summary.where(run.circumstances)}.",
        "Plots and answers side by side are in `report.html`, all figures in `report.json`.",
        _bullets(summary.cautions(found)),
    ]
    for part in parts:
        lines += [f"## {part.title}", _bullets(part.findings)]
        lines += [text for grid in part.grids for text in (f"### {grid.title}", _table(grid))]
    lines += ["## How it was worked out", _bullets(summary.methods(found))]
    return "\n\n".join(line for line in lines if line) + "\n"


def _table(grid: Grid) -> str:
    rows = len(grid.rows)
    return grid.markdown() if rows <= LONGEST else f"{rows:,} rows, which are in `report.html`."


def _bullets(sentences: Sequence[str]) -> str:
    # What others wrote stays on its line, so that it can't begin a heading or a table of its own.
    return "\n".join(f"- {' '.join(sentence.split())}" for sentence in sentences)


def _plots(found: Analysis, task: str, metric: str, name: str) -> list[Plot]:
    plots = []
    if found.scored(task):
        plots += [
            plot_quality.by_strategy(found, task, metric, f"{name}-strategy"),
            *(
                plot_quality.against_cost(found, task, metric, figure, f"{name}-{figure}")
                for figure in plot_quality.COSTS
            ),
            *plot_sweeps.sweeps(found, task, metric, f"{name}-sweep"),
        ]
    plots += plot_latency.curves(found, task, f"{name}-latency")
    if found.scored(task) and len(found.table.families(task)) > 1:
        plots.append(plot_quality.by_family(found, task, metric, f"{name}-family"))
    return plots
