"""From a run's folder to the report's files in it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.results import Grid
from motet_benchmarks.strategies import figures
from motet_benchmarks.strategies.report import tables
from motet_benchmarks.strategies.report.page import html
from motet_benchmarks.strategies.report.reading import read


def write(folder: Path) -> list[Path]:
    """Write report.json, report.md and report.html into a run's folder; returns their paths.

    Raises BenchmarkError where the folder holds no run, or can't be written to.
    """
    recorded = read(folder)
    run, table = recorded.run, figures.Table(recorded.run, recorded.samples)
    lines, likings, costs = figures.lines(table), figures.likings(table), figures.costs(table)
    families = figures.lines(table, families=True)
    grids: list[Grid] = []
    for task in run.tasks:
        grids.append(tables.quality(task.name, task.metric, table.first, lines))
        if run.judge is not None and any(each.task == task.name for each in likings):
            grids.append(tables.liking(task.name, run.judge, table.first, likings))
        grids.append(tables.cost(task.name, costs))
    facts = {
        "run": run.model_dump(mode="json"),
        "answers": len(recorded.samples),
        "expected": recorded.expected(),
        "first": table.first,
        "lines": [_fact(line) for line in lines],
        "families": [_fact(line) for line in families],
        "rewards": [_fact(each) for each in likings],
        "costs": [asdict(each) for each in costs],
    }
    markdown = "\n\n".join(
        ["# Strategies", *(part for grid in grids for part in (f"## {grid.title}", grid.markdown()))]
    )
    return replace(
        folder,
        {
            "report.json": json.dumps(facts, indent=1, allow_nan=False) + "\n",
            "report.md": markdown + "\n",
            "report.html": html(run, grids),
        },
    )


def replace(folder: Path, files: Mapping[str, str]) -> list[Path]:
    """Write files whole or not at all. Raises BenchmarkError if they can't be written."""
    paths = []
    try:
        for name, content in files.items():
            path = folder / name
            beside = path.with_name(f".{name}.new")
            beside.write_text(content, encoding="utf-8")
            os.replace(beside, path)
            paths.append(path)
    except OSError as problem:
        raise BenchmarkError(f"{folder}: can't write there: {problem.strerror or problem}") from None
    return paths


def _fact(each: figures.Line | figures.Liking) -> dict[str, Any]:
    verdict = None if each.over_first is None else each.over_first.verdict
    return {**asdict(each), "verdict": verdict}
