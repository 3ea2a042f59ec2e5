"""Where the measured figures go: the record in one JSON file, and the card beside the models."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from motet_benchmarks.toys.adapted import Measuring
from motet_benchmarks.toys.adapters import publish, train_run
from motet_benchmarks.toys.card import card
from motet_benchmarks.toys.evaluate import evaluate
from motet_benchmarks.toys.record import ADAPTERS, MadeAdapters, Record, check, replace, write
from motet_benchmarks.toys.settings import AdapterRecipe
from motet_decoding.contrast import Contrast


def measure(
    record: Record, folder: Path, results: Path, *, count: int, tuning: int, say: Callable[[str], None]
) -> Record:
    """Measure the pair in `folder`, which must be the one on record; write `results` and the card in README.md.

    Raises OSError or ValueError, before anything is measured, if the weights are not those on record.
    """
    check(record, folder)
    measured = evaluate(folder / "expert", folder / "amateur", count=count, tuning=tuning, say=say)
    return _write(dataclasses.replace(record, measured=measured), folder, results, say)


def adapt(
    record: Record,
    recipe: AdapterRecipe,
    folder: Path,
    results: Path,
    *,
    count: int,
    say: Callable[[str], None],
) -> Record:
    """Train adapters for the measured pair in `folder`, measure them, bundle the first seed's in `folder`/adapters.

    What stands there is replaced when all are trained and measured. Writes `results` and the card in README.md. Raises
    ValueError if the pair wasn't measured, AlignmentError where a training can't be done.
    """
    if record.measured is None:
        raise ValueError("the pair must be measured first")
    expert, amateur = folder / "expert", folder / "amateur"
    measuring = Measuring(
        expert,
        amateur,
        Contrast(strength=record.measured.strength, plausibility=record.measured.plausibility),
        count=count,
    )
    with tempfile.TemporaryDirectory(prefix="motet-adapters-") as work:
        runs = []
        for seed in recipe.seeds:
            runs.append(train_run(recipe, seed, expert, Path(work), say))
            measuring.add(runs[-1], say)
        versions = publish(runs[0], expert, folder / ADAPTERS)
    made = MadeAdapters(recipe, versions, torch.__version__, torch.get_num_threads(), measuring.results())
    return _write(dataclasses.replace(record, adapters=made), folder, results, say)


def _write(record: Record, folder: Path, results: Path, say: Callable[[str], None]) -> Record:
    if record.measured is None:
        raise ValueError("a card is written of what was measured")
    write(record, results)
    replace(folder / "README.md", card(record, record.measured))
    say(f"written: {results} and {folder / 'README.md'}")
    return record
