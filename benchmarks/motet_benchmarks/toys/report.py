"""Where the measured figures go: the record in one JSON file, and the card beside the models."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from motet_benchmarks.toys.card import card
from motet_benchmarks.toys.evaluate import evaluate
from motet_benchmarks.toys.record import Record, check, replace, write


def measure(
    record: Record, folder: Path, results: Path, *, count: int, tuning: int, say: Callable[[str], None]
) -> None:
    """Measure the pair in `folder`, which must be the one on record; write `results` and the card in README.md.

    Raises OSError or ValueError, before anything is measured, if the weights are not those on record.
    """
    check(record, folder)
    measured = evaluate(folder / "expert", folder / "amateur", count=count, tuning=tuning, say=say)
    record = dataclasses.replace(record, measured=measured)
    write(record, results)
    replace(folder / "README.md", card(record, measured))
    say(f"written: {results} and {folder / 'README.md'}")
