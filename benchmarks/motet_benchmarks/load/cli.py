"""``motet bench serving``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.options import (
    RESULTS,
    Out,
    Seed,
    ServeOptions,
    complaints,
    server_options,
    whole_numbers,
)

#: What the bundled server is asked, and any other.
BUNDLED_MIX, MIX = "plain=3,contrast=1,motet-sft=1", "plain"
#: Where none of --rate, --ramp and --concurrency is given.
RATES = "1,2,4"


def serving(
    url: Annotated[
        str | None,
        typer.Option(
            metavar="[NAME=]URL[#MODEL]",
            help="A running server, with or without a closing /v1, and its model, the first that it lists when left "
            "out; the bundled one is started without it. Its key is taken from MOTET_API_KEY. Proxies of the "
            "environment aren't used.",
        ),
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]URL[#MODEL]",
            help="Another server, of plain vLLM say, asked the same in turn with the first; may be repeated. Its key "
            "is taken from MOTET_API_KEY_NAME, with its name in capitals.",
        ),
    ] = None,
    rate: Annotated[
        str | None,
        typer.Option(help=f"Requests a second, a step each, with commas between; {RATES} when left out."),
    ] = None,
    ramp: Annotated[
        str | None,
        typer.Option(metavar="FROM:TO", help="A rate that rises from one to the other, told in five parts."),
    ] = None,
    concurrency: Annotated[
        str | None,
        typer.Option(help="Clients that ask one after the other instead, a step each, with commas between."),
    ] = None,
    seconds: Annotated[
        float,
        typer.Option(
            min=0.5,
            help="Each server is measured in each step, or on the whole ramp; the load goes on until what was asked "
            "then is answered.",
        ),
    ] = 20.0,
    warm_up: Annotated[float, typer.Option(min=0, help="Seconds of load before, which don't count.")] = 3.0,
    segments: Annotated[
        int | None,
        typer.Option(min=1, help="Turns of each server within a step; 1, and 4 beside another, if left out."),
    ] = None,
    mix: Annotated[
        str | None,
        typer.Option(
            metavar="STRATEGY=SHARE,...",
            help="plain, sampled, contrast, contrast:VOICE, layers:low, best-of-N, best-of-N:SCORER, an adapter or "
            f"other model, MODEL/STRATEGY; {MIX} when left out, {BUNDLED_MIX} of the bundled server.",
        ),
    ] = None,
    mix_file: Annotated[
        Path | None, typer.Option(help="YAML instead, `name: {share, model, sampling, contrast, best_of}`.")
    ] = None,
    prompts: Annotated[
        str, typer.Option(help="gym, or a file of JSON lines with a `prompt` or `messages` each.")
    ] = "gym",
    tokens: Annotated[int, typer.Option(min=1, help="The longest answer.")] = 64,
    ignore_eos: Annotated[
        bool,
        typer.Option(
            help="Every answer has as many tokens, by vLLM's field of that name; or ends by itself, as all do where a "
            "server refuses the field."
        ),
    ] = True,
    stream: Annotated[bool, typer.Option(help="Streamed answers; others have no first token.")] = True,
    ttft_target: Annotated[
        float | None, typer.Option(min=0.001, help="Seconds to the first token of a good answer.")
    ] = None,
    tpot_target: Annotated[
        float | None, typer.Option(min=0.0001, help="Seconds for each further token of a good answer.")
    ] = None,
    e2e_target: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            help="Seconds to its end. Without any target streams have 0.5 and 0.1 s for their tokens.",
        ),
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=0.1, help="Seconds after it was due until a request has failed.")
    ] = 60.0,
    max_open: Annotated[int, typer.Option(min=1, help="The most requests open at once; others wait.")] = 512,
    serve_options: ServeOptions = "",
    seed: Seed = 0,
    out: Out = RESULTS,
) -> None:
    """A server under load: latency by percentile and goodput against the rate of requests, beside another server's."""
    import asyncio

    from motet_benchmarks.load import prompts as asked
    from motet_benchmarks.load.mix import read_file, read_words
    from motet_benchmarks.load.options import named_urls, targets
    from motet_benchmarks.load.plan import SEGMENTS, Plan, ramp_of, rates_of
    from motet_benchmarks.load.run import measure
    from motet_benchmarks.machine import circumstances

    with complaints():
        if mix is not None and mix_file is not None:
            raise BenchmarkError("--mix, --mix-file: give one of the two")
        if rate is None and ramp is None and concurrency is None:
            rate = RATES
        urls = named_urls(url, against or [])
        words = mix or (MIX if url else BUNDLED_MIX)
        plan = Plan(
            rates=() if rate is None else rates_of("--rate", rate),
            ramp=None if ramp is None else ramp_of(ramp),
            concurrency=() if concurrency is None else whole_numbers("--concurrency", concurrency),
            seconds=seconds,
            warm_up=warm_up,
            segments=segments or (SEGMENTS if against else 1),
            tokens=tokens,
            exact=ignore_eos,
            stream=stream,
            timeout=timeout,
            max_open=max_open,
            targets=targets(ttft_target, tpot_target, e2e_target, stream=stream),
            seed=seed,
        )
        asyncio.run(
            measure(
                plan,
                read_words(words) if mix_file is None else read_file(mix_file),
                asked.read(prompts),
                where=circumstances(),
                out=out,
                urls=urls,
                options=server_options(serve_options),
            )
        )
