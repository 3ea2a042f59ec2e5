"""Measure kernels in this process, and decoding and serving over HTTP, on the bundled models or your own."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from motet_benchmarks.adapters.cli import adapters
from motet_benchmarks.best_of.cli import best_of
from motet_benchmarks.load.cli import serving
from motet_benchmarks.options import (
    RESULTS,
    Amateur,
    Count,
    Minutes,
    Model,
    Out,
    Plausibility,
    Rounds,
    Seed,
    ServeOptions,
    Strength,
    Tokens,
    Tuning,
    asked_contrast,
    complaints,
    server_options,
    whole_numbers,
    words,
)
from motet_benchmarks.ppo.cli import ppo
from motet_benchmarks.short import everything
from motet_benchmarks.strategies.cli import strategies
from motet_benchmarks.strategies.judging_cli import judge
from motet_benchmarks.strategies.report.cli import compare, report
from motet_benchmarks.trials import COUNT, TUNING
from motet_benchmarks.voices.cli import voices

app = typer.Typer(
    help="Measure kernels, and decoding and serving over HTTP on the bundled models or your own. Endpoints that want "
    "a key get the one in MOTET_API_KEY.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(adapters)
app.command()(ppo)
app.command()(best_of)
app.command()(voices)
app.command()(serving)
app.command()(strategies)
app.command()(judge)
app.command()(report)
app.command()(compare)
app.command("all")(everything)


@app.command()
def overhead(
    model: Model = None,
    amateur: Amateur = None,
    url_pair: Annotated[str | None, typer.Option(help="A running server with both models.")] = None,
    url_expert: Annotated[str | None, typer.Option(help="A running server with the expert alone.")] = None,
    batches: Annotated[str, typer.Option(help="Requests at once, with commas between.")] = "1,8,32,64",
    loop: Annotated[bool, typer.Option(help="Also measure the loop and the models in transformers.")] = True,
    loop_batch: Annotated[int, typer.Option(min=1, help="The batch to measure it at.")] = 32,
    tokens: Tokens = 64,
    rounds: Rounds = 12,
    minutes: Minutes = 6.0,
    strength: Strength = None,
    plausibility: Plausibility = None,
    dtype: Annotated[
        Literal["float32", "bfloat16", "float16"] | None,
        typer.Option(
            help="The precision of all that are compared; that of the expert's weights when left out."
        ),
    ] = None,
    serve_options: ServeOptions = "",
    seed: Seed = 0,
    out: Out = RESULTS,
) -> None:
    """What a second model costs those who don't use it, what contrast costs, what the server gains over a loop."""
    import asyncio

    from motet_benchmarks import overhead as benchmark
    from motet_benchmarks.machine import circumstances
    from motet_benchmarks.pair import EXPERT, PAIR, Pair

    with complaints():
        plan = benchmark.Plan(
            batches=whole_numbers("--batches", batches),
            loop_batch=loop_batch,
            tokens=tokens,
            rounds=rounds,
            minutes=minutes,
            contrast=asked_contrast(strength, plausibility),
            dtype=dtype,
            seed=seed,
        )
        given = {PAIR: url_pair, EXPERT: url_expert}
        urls = {name: url for name, url in given.items() if url is not None}
        asyncio.run(
            benchmark.measure(
                plan,
                Pair(model, amateur),
                where=circumstances(),
                out=out,
                urls=urls,
                options=server_options(serve_options),
                with_loop=loop,
            )
        )


@app.command()
def contrast(
    url: Annotated[str | None, typer.Option(help="Any endpoint; a server is started when left out.")] = None,
    name: Annotated[
        str | None, typer.Option(help="The model to ask for; the endpoint's first when left out.")
    ] = None,
    model: Model = None,
    amateur: Amateur = None,
    families: Annotated[
        str | None, typer.Option(help="Families of the gym, with commas between; all when left out.")
    ] = None,
    count: Count = COUNT,
    strength: Strength = None,
    plausibility: Plausibility = None,
    sweep: Annotated[
        bool, typer.Option("--sweep", help="Choose strength and plausibility on the validation split.")
    ] = False,
    tuning: Tuning = TUNING,
    concurrency: Annotated[int, typer.Option(min=1, help="The most requests at once.")] = 32,
    tokens: Annotated[int, typer.Option(min=1, help="The longest answer.")] = 128,
    serve_options: ServeOptions = "",
    seed: Seed = 0,
    out: Out = RESULTS,
) -> None:
    """Whether contrast answers the gym better than plain decoding, family by family."""
    import asyncio

    from motet_benchmarks import contrast as benchmark
    from motet_benchmarks.machine import circumstances
    from motet_benchmarks.pair import Pair

    with complaints():
        told = strength is not None or plausibility is not None
        questions = benchmark.Questions(
            count=count,
            families=None if families is None else tuple(words(families)),
            contrast=asked_contrast(strength, plausibility) if told else None,
            sweep=sweep,
            tuning=tuning,
            concurrency=concurrency,
            tokens=tokens,
            seed=seed,
        )
        asyncio.run(
            benchmark.measure(
                questions,
                Pair(model, amateur),
                where=circumstances(),
                out=out,
                url=url,
                name=name,
                options=server_options(serve_options),
            )
        )


@app.command()
def kernels(
    job: Annotated[
        str | None,
        typer.Option(
            help="contrast, contrast_sample, token_logprobs, with commas between; all when left out."
        ),
    ] = None,
    batch: Annotated[
        str | None, typer.Option(help="Rows, with commas between; from 1 to 256 when left out.")
    ] = None,
    vocab: Annotated[
        str | None,
        typer.Option(help="Vocabularies, with commas between; from 32,000 to 151,936 when left out."),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every case. Without shapes, a CPU measures typical ones only.")
    ] = False,
    device: Annotated[
        Literal["cpu", "cuda"] | None, typer.Option(help="Where; on a GPU where there is one when left out.")
    ] = None,
    dtype: Annotated[
        Literal["float32", "bfloat16"] | None,
        typer.Option(help="Of the logits; float32 on a CPU and bfloat16 on a GPU when left out."),
    ] = None,
    compiled: Annotated[
        bool | None,
        typer.Option("--compile/--no-compile", help="Also torch.compile; on a GPU when left out."),
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="How often each contender is timed at most.")] = 30,
    seconds: Annotated[
        float, typer.Option(min=0, help="No round of a case is begun after this long, but for five.")
    ] = 1.0,
    seed: Seed = 0,
    out: Out = RESULTS,
) -> None:
    """How long the kernels take, against eager PyTorch and others, and against the bytes that must move."""
    from motet_benchmarks import kernels as benchmark
    from motet_benchmarks.machine import circumstances

    with complaints():
        plan = benchmark.Plan(
            jobs=benchmark.JOBS if job is None else benchmark.named_jobs(words(job)),
            batches=None if batch is None else whole_numbers("--batch", batch),
            vocabs=None if vocab is None else whole_numbers("--vocab", vocab),
            everything=everything,
            device=device,
            dtype=dtype,
            compiled=compiled,
            rounds=rounds,
            seconds=seconds,
            seed=seed,
        )
        benchmark.measure(plan, where=circumstances(), out=out)
