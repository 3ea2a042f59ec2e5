"""``motet bench judge``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from motet_benchmarks.options import Seed, complaints, words


def judge(
    run: Annotated[Path, typer.Argument(help="The folder of a run of motet bench strategies.")],
    judge_model: Annotated[
        str,
        typer.Option(
            metavar="URL/NAME",
            help="An OpenAI endpoint and its model that judges, such as http://127.0.0.1:8000/v1/motet-toy.",
        ),
    ],
    strategies: Annotated[
        str | None,
        typer.Option(help="Strategies to hold against the first, with commas between; all when left out."),
    ] = None,
    pairs: Annotated[
        int | None,
        typer.Option(
            min=1, help="The most pairs of each strategy on each task, drawn by --seed; all when left out."
        ),
    ] = None,
    tokens: Annotated[int, typer.Option(min=1, help="The judge's longest reply.")] = 64,
    concurrency: Annotated[int, typer.Option(min=1, help="The most questions at once.")] = 16,
    seed: Seed = 0,
) -> None:
    """Which answers a judge model prefers, strategy by strategy against the first, each pair asked in both orders."""
    import asyncio

    from motet_benchmarks.strategies.judging_run import judged, publish

    with complaints():
        found = asyncio.run(
            judged(
                run,
                judge_model,
                strategies=None if strategies is None else words(strategies),
                most=pairs,
                tokens=tokens,
                concurrency=concurrency,
                seed=seed,
            )
        )
        publish(run, found)
