"""The requests of a step that was broken off: no figures come of them, and they have been paid for."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.files import replace
from motet_benchmarks.load.samples import Sample

UNFINISHED_FILE = "load-unfinished.csv"


def drop(folder: Path) -> None:
    """Those of an earlier run go. Raises BenchmarkError where they can't."""
    try:
        (folder / UNFINISHED_FILE).unlink(missing_ok=True)
    except OSError as problem:
        raise BenchmarkError(f"--out {folder}: {problem.strerror or problem}") from None


def write(folder: Path, samples: Sequence[Sample]) -> Path:
    """A line of CSV for each, of which there is one at least; returns where. Raises BenchmarkError where it can't."""
    lines = [asdict(sample) for sample in samples]
    sheet = io.StringIO(newline="")
    writer = csv.DictWriter(sheet, fieldnames=list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    path = folder / UNFINISHED_FILE
    try:
        replace(path, sheet.getvalue())
    except OSError as problem:
        raise BenchmarkError(f"--out {folder}: can't write there: {problem.strerror or problem}") from None
    return path
