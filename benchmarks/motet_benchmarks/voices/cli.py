"""``motet bench voices``."""

from __future__ import annotations

from typing import Annotated

import typer

from motet_benchmarks.options import (
    RESULTS,
    Minutes,
    Out,
    Rounds,
    Seed,
    ServeOptions,
    complaints,
    server_options,
    whole_numbers,
    words,
)


def voices(
    count: Annotated[int, typer.Option(min=1, help="Test problems of each family.")] = 8,
    tuning: Annotated[
        int, typer.Option(min=1, help="Validation problems of each family, by which strengths are chosen.")
    ] = 4,
    worked: Annotated[
        int, typer.Option(min=0, help="Test problems of each family with steps, asked to show them.")
    ] = 6,
    series: Annotated[
        str | None, typer.Option(help="Series of settings, with commas between; all when left out.")
    ] = None,
    quality: Annotated[bool, typer.Option(help="Ask the gym's problems.")] = True,
    speed: Annotated[bool, typer.Option(help="Race groups and layers, and a server without them.")] = True,
    concurrency: Annotated[int, typer.Option(min=1, help="The most problems at once.")] = 16,
    clients: Annotated[
        str, typer.Option(help="Who ask at once where speed is measured, with commas between.")
    ] = "1,4,16",
    tokens: Annotated[int, typer.Option(min=1, help="Of each answer where speed is measured.")] = 64,
    rounds: Rounds = 8,
    minutes: Minutes = 5.0,
    url: Annotated[
        str | None,
        typer.Option(help="A running server with the bundled models; one is started when left out."),
    ] = None,
    url_plain: Annotated[
        str | None,
        typer.Option(help="One that was started with --max-voices 0; one is started when left out."),
    ] = None,
    serve_options: ServeOptions = "",
    seed: Seed = 0,
    out: Out = RESULTS,
) -> None:
    """What contrast with other weights, prompts and layers of the same model gains on the gym, and costs to serve."""
    import asyncio

    from motet_benchmarks.errors import BenchmarkError
    from motet_benchmarks.machine import circumstances
    from motet_benchmarks.voices import run
    from motet_benchmarks.voices.duels import GROUPS, NONE
    from motet_benchmarks.voices.plan import Plan, named_series
    from motet_benchmarks.voices.series import SERIES

    where = circumstances()
    with complaints():
        if not (quality or speed):
            raise BenchmarkError("--no-quality, --no-speed: nothing is measured; leave out one of them")
        plan = Plan(
            count=count,
            tuning=tuning,
            worked=worked,
            series=SERIES if series is None else named_series(words(series)),
            concurrency=concurrency,
            clients=whole_numbers("--clients", clients),
            tokens=tokens,
            rounds=rounds,
            minutes=minutes,
            seed=seed,
        )
        options = server_options(serve_options)
        if quality:
            asyncio.run(run.quality(plan, where=where, out=out, url=url, options=options))
        if speed:
            given = {GROUPS: url, NONE: url_plain}
            urls = {name: place for name, place in given.items() if place is not None}
            asyncio.run(run.speed(plan, where=where, out=out, urls=urls, options=options))
