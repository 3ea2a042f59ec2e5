"""From a run's folder to the report's files in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from motet_benchmarks import files
from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.strategies.reading import read
from motet_benchmarks.strategies.report.analysis import analyse
from motet_benchmarks.strategies.report.joined import joined
from motet_benchmarks.strategies.report.page import html, markdown, sections


def write(folder: Path) -> list[Path]:
    """Write report.json, report.md and report.html into a run's folder; returns their paths.

    Raises BenchmarkError where the folder holds no run, or can't be written to.
    """
    found = analyse(read(folder))
    parts = [*sections(found), *joined(folder, found)]
    return replace(
        folder,
        {
            "report.json": json.dumps(found.facts(), separators=(",", ":"), allow_nan=False) + "\n",
            "report.md": markdown(found, parts),
            "report.html": html(found, parts),
        },
    )


def replace(folder: Path, contents: Mapping[str, str]) -> list[Path]:
    """Write each file whole or not at all. Raises BenchmarkError if one can't be written."""
    paths = []
    try:
        for name, content in contents.items():
            files.replace(folder / name, content)
            paths.append(folder / name)
    except OSError as problem:
        raise BenchmarkError(f"{folder}: can't write there: {problem.strerror or problem}") from None
    return paths
