"""Where the measured figures go: one JSON file, and the card beside the models."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from motet_benchmarks.toys.build import Made
from motet_benchmarks.toys.card import card
from motet_benchmarks.toys.evaluate import evaluate
from motet_benchmarks.toys.settings import Recipe


def write(
    recipe: Recipe,
    folder: Path,
    results: Path,
    made: dict[str, Made],
    *,
    count: int,
    tuning: int,
    say: Callable[[str], None],
) -> None:
    """Measure the pair in `folder`; write `results` and the card `folder`/README.md."""
    measured = evaluate(folder / "expert", folder / "amateur", count=count, tuning=tuning, say=say)
    facts = {
        "recipe": asdict(recipe),
        "made": {name: asdict(one) for name, one in made.items()},
        "measured": asdict(measured),
    }
    _replace(results, json.dumps(facts, indent=1) + "\n")
    _replace(folder / "README.md", card(recipe, made, measured))
    say(f"written: {results} and {folder / 'README.md'}")


def read_made(results: Path) -> dict[str, Made]:
    """How the pair came about, from the file that `write` wrote.

    Raises OSError if it can't be read, ValueError naming it if it holds something else.
    """
    try:
        made = json.loads(results.read_text(encoding="utf-8"))["made"]
        return {name: Made(**made[name]) for name in ("expert", "amateur")}
    except (json.JSONDecodeError, KeyError, TypeError) as problem:
        raise ValueError(f"{results}: not the results of a build: {problem!r}") from problem


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(text, encoding="utf-8")
    os.replace(beside, path)
