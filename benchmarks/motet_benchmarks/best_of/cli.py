"""``motet bench best-of``."""

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


def best_of(
    count: Annotated[
        int, typer.Option(min=0, help="Test problems of each family, asked for the answer alone.")
    ] = 10,
    worked: Annotated[
        int, typer.Option(min=0, help="Test problems of each family with steps, asked to show them.")
    ] = 8,
    n: Annotated[int, typer.Option(min=2, max=64, help="Candidates of each problem.")] = 32,
    policy: Annotated[
        str, typer.Option(help="Who answers: an adapter, or the base by its name.")
    ] = "motet-sft",
    reward: Annotated[str, typer.Option(help="The reward adapter that judges.")] = "motet-reward",
    families: Annotated[
        str | None, typer.Option(help="Families of the gym, with commas between; all when left out.")
    ] = None,
    recipes: Annotated[bool, typer.Option(help="Also try early rejection and the search over steps.")] = True,
    speed: Annotated[bool, typer.Option(help="Also measure speed and load.")] = True,
    clients: Annotated[
        str, typer.Option(help="Who want the best of 8 at once, with commas between.")
    ] = "1,4,16",
    rounds: Rounds = 8,
    minutes: Minutes = 3.0,
    phases: Annotated[
        int,
        typer.Option(min=1, help="How often plain requests are timed without and with best-of beside them."),
    ] = 6,
    seconds: Annotated[float, typer.Option(min=0.05, help="Of each of those phases.")] = 6.0,
    url: Annotated[
        str | None,
        typer.Option(help="A running server with the bundled adapters; one is started when left out."),
    ] = None,
    serve_options: ServeOptions = "",
    seed: Seed = 0,
    out: Out = RESULTS,
) -> None:
    """What the best of N is worth by who judges, what early rejection saves, what one request gains over several."""
    import asyncio

    from motet_benchmarks.best_of.plan import RECIPES, Plan
    from motet_benchmarks.best_of.run import measure
    from motet_benchmarks.machine import circumstances

    with complaints():
        plan = Plan(
            count=count,
            worked=worked,
            n=n,
            sizes=tuple(sorted({n, *(2**power for power in range(n.bit_length()))})),
            policy=policy,
            reward=reward,
            families=None if families is None else tuple(words(families)),
            recipes=RECIPES if recipes else (),
            clients=whole_numbers("--clients", clients),
            rounds=rounds,
            minutes=minutes,
            phases=phases,
            seconds=seconds,
            seed=seed,
        )
        asyncio.run(
            measure(
                plan,
                where=circumstances(),
                out=out,
                url=url,
                options=server_options(serve_options),
                with_speed=speed,
            )
        )
