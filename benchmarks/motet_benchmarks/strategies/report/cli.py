"""``motet bench report`` and ``motet bench compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from motet_benchmarks.options import complaints

Folder = Annotated[Path, typer.Argument(help="A run's folder, as motet bench strategies has left it.")]


def report(run: Folder) -> None:
    """Write a run's report again: report.html, report.md and report.json in its folder."""
    from motet_benchmarks import results
    from motet_benchmarks.strategies.report.writing import write

    with complaints():
        results.show([], write(run))


def compare(
    run: Folder,
    run2: Annotated[Path, typer.Argument(help="The folder of the run to compare it with.")],
    out: Annotated[
        Path | None, typer.Option(help="The folder for compare.md; the second run's when left out.")
    ] = None,
) -> None:
    """Say which differences between two runs are noise: pair by pair where they have the same problems."""
    from motet_benchmarks import results
    from motet_benchmarks.strategies.report import comparing

    with complaints():
        if out is not None:
            results.check_folder(out)
        grids, paths = comparing.compare(run, run2, run2 if out is None else out)
        results.show(grids, paths)
