"""``motet bench adapters``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from motet_benchmarks.options import RESULTS, Out, Seed, ServeOptions, complaints, server_options


def adapters(
    swaps: Annotated[int, typer.Option(min=1, help="Versions published, one after the other.")] = 200,
    clients: Annotated[int, typer.Option(min=1, help="Requests at once, without a pause.")] = 16,
    rate: Annotated[
        float,
        typer.Option(min=0.01, help="Swaps a second at most; none begins before the last one has been seen."),
    ] = 2.0,
    seconds: Annotated[
        float, typer.Option(min=0.1, help="How long phases with and without swaps take, which take turns.")
    ] = 10.0,
    tokens: Annotated[int, typer.Option(min=8, help="Tokens of each answer.")] = 48,
    model: Annotated[
        str | None, typer.Option(help="The base: a folder or hub name; the bundled expert when left out.")
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(help="A running server of the base in float32; one is started when left out."),
    ] = None,
    store: Annotated[
        Path | None, typer.Option(help="Where that server's adapters are published, if not where it says.")
    ] = None,
    products: Annotated[
        bool, typer.Option(help="Also time LoRA's own products on this CPU, beside vLLM's and the layer's.")
    ] = True,
    serve_options: ServeOptions = "",
    seed: Seed = 0,
    out: Out = RESULTS,
) -> None:
    """Whether swaps under load lose or mix up answers, how soon a new version answers, and what swaps cost.

    Ends with exit code 1 if a request failed or was answered wrongly, if a version was never heard, or if the engine
    held more versions than it may. Speed and memory are reported and decide nothing.
    """
    import asyncio

    from motet_benchmarks.adapters.plan import Plan
    from motet_benchmarks.adapters.run import measure
    from motet_benchmarks.errors import BenchmarkError
    from motet_benchmarks.machine import circumstances

    with complaints():
        if store is not None and url is None:
            raise BenchmarkError(
                "--store: only with --url; the server that is started has a store of its own"
            )
        plan = Plan(swaps=swaps, clients=clients, rate=rate, seconds=seconds, tokens=tokens, seed=seed)
        outcome = asyncio.run(
            measure(
                plan,
                where=circumstances(),
                out=out,
                model=model,
                url=url,
                store=store,
                options=server_options(serve_options),
                with_products=products,
            )
        )
    if not outcome.passed:
        raise typer.Exit(1)
