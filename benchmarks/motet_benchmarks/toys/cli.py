"""`motet models`: make and measure the bundled models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Make and measure the bundled models.", no_args_is_help=True)

Folder = Annotated[
    Path | None,
    typer.Option(help="Where expert/ and amateur/ stand; the installed package's own folder when left out."),
]
ResultsFile = Annotated[Path, typer.Option(help="The JSON file that holds what was measured.")]
Count = Annotated[int, typer.Option(min=1, help="Test problems of each family.")]
Tuning = Annotated[
    int, typer.Option(min=1, help="Validation problems of each family that choose the contrast.")
]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; torch's own choice when left out.")]

RESULTS = Path("benchmarks/results/toys.json")


@app.command()
def build(
    folder: Folder = None,
    results: ResultsFile = RESULTS,
    count: Count = 40,
    tuning: Tuning = 12,
    threads: Threads = None,
    compiled: Annotated[bool, typer.Option(help="Compile the models; needs a C++ compiler.")] = False,
) -> None:
    """Train the pair anew, measure it, and write its card. Takes an hour or two on two CPU cores."""
    from dataclasses import replace

    from motet_benchmarks.toys import report
    from motet_benchmarks.toys.build import build as build_pair
    from motet_benchmarks.toys.settings import Recipe

    _use(threads)
    recipe = Recipe()
    recipe = replace(
        recipe,
        expert=replace(recipe.expert, compiled=compiled),
        amateur=replace(recipe.amateur, compiled=compiled),
    )
    where = folder or _bundled()
    made = build_pair(recipe, where)
    report.write(recipe, where, results, made, count=count, tuning=tuning, say=typer.echo)


@app.command()
def evaluate(
    folder: Folder = None,
    results: ResultsFile = RESULTS,
    count: Count = 40,
    tuning: Tuning = 12,
    threads: Threads = None,
) -> None:
    """Measure a pair that `build` made, and write its card again."""
    from motet_benchmarks.toys import report
    from motet_benchmarks.toys.settings import Recipe

    _use(threads)
    where = folder or _bundled()
    try:
        made = report.read_made(results)
    except (OSError, ValueError) as problem:
        raise typer.BadParameter(str(problem), param_hint="--results") from None
    report.write(Recipe(), where, results, made, count=count, tuning=tuning, say=typer.echo)


def _bundled() -> Path:
    from motet_models import EXPERT

    return EXPERT.parent


def _use(threads: int | None) -> None:
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
