"""Measure decoding and serving, over HTTP, on the bundled models or your own."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.trials import COUNT, TUNING

if TYPE_CHECKING:
    from motet_decoding.contrast import Contrast

app = typer.Typer(
    help="Measure decoding and serving, over HTTP, on the bundled models or your own. Endpoints that want a key get "
    "the one in MOTET_API_KEY.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Out = Annotated[Path, typer.Option(help="The folder for the JSON, CSV, Markdown and PNG files.")]
Model = Annotated[
    str | None, typer.Option(help="The expert: a folder or hub name; the bundled one when left out.")
]
Amateur = Annotated[
    str | None, typer.Option(help="The amateur: a folder or hub name; the bundled one when left out.")
]
ServeOptions = Annotated[
    str, typer.Option(help='Options for the servers that are started, such as "--max-model-len 4096".')
]
Tokens = Annotated[int, typer.Option(min=1, help="Tokens of each answer; the mean where answers differ.")]
Rounds = Annotated[
    int,
    typer.Option(min=1, help="How often every arm is measured. Fewer than six give too narrow intervals."),
]
Minutes = Annotated[
    float, typer.Option(min=0, help="No round is begun that might end after this long, but for the first.")
]
Strength = Annotated[float | None, typer.Option(min=0, help="Contrast's strength.")]
Plausibility = Annotated[float | None, typer.Option(min=0, max=1, help="Contrast's plausibility.")]
Count = Annotated[int, typer.Option(min=1, help="Test problems of each family.")]
Tuning = Annotated[int, typer.Option(min=1, help="Validation problems of each family for --sweep.")]
Seed = Annotated[int, typer.Option(help="Chooses prompts and problems.")]

RESULTS = Path("benchmarks/results")


@app.command()
def serving(
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

    from motet_benchmarks import serving as benchmark
    from motet_benchmarks.machine import circumstances
    from motet_benchmarks.pair import EXPERT, PAIR, Pair

    with _complaints():
        plan = benchmark.Plan(
            batches=_batches(batches),
            loop_batch=loop_batch,
            tokens=tokens,
            rounds=rounds,
            minutes=minutes,
            contrast=_contrast(strength, plausibility),
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
                options=_words(serve_options),
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

    with _complaints():
        told = strength is not None or plausibility is not None
        questions = benchmark.Questions(
            count=count,
            families=None if families is None else tuple(_split(families)),
            contrast=_contrast(strength, plausibility) if told else None,
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
                options=_words(serve_options),
            )
        )


@app.command("all")
def everything(
    count: Count = COUNT,
    tuning: Tuning = TUNING,
    tokens: Tokens = 64,
    rounds: Rounds = 12,
    minutes: Minutes = 5.0,
    seed: Seed = 0,
    out: Out = RESULTS,
) -> None:
    """Everything on the bundled models, in under ten minutes on two CPU cores."""
    import asyncio

    from motet_benchmarks import contrast as quality
    from motet_benchmarks import serving as speed
    from motet_benchmarks.machine import circumstances
    from motet_benchmarks.pair import PAIR, Pair
    from motet_benchmarks.progress import waiting
    from motet_benchmarks.results import check_folder
    from motet_benchmarks.servers import servers, side_by_side

    async def run() -> None:
        pair = Pair()
        questions = quality.Questions(count=count, sweep=True, tuning=tuning, seed=seed)
        plan = speed.Plan(tokens=tokens, rounds=rounds, minutes=minutes, seed=seed)
        check_folder(out)
        where = circumstances()
        arguments = pair.arguments(side_by_side([], pair.precision()))
        async with AsyncExitStack() as stack:
            with waiting("starting two servers"):
                urls = await stack.enter_async_context(servers(arguments))
            await quality.measure(questions, pair, where=where, out=out, url=urls[PAIR])
            await speed.measure(plan, pair, where=where, out=out, urls=urls)

    with _complaints():
        asyncio.run(run())


@contextmanager
def _complaints() -> Iterator[None]:
    """What the user can mend is said in a sentence, with exit code 2."""
    try:
        yield
    except BenchmarkError as error:
        typer.echo(f"motet bench: error: {error}", err=True)
        raise typer.Exit(2) from None


def _batches(text: str) -> tuple[int, ...]:
    try:
        batches = sorted({int(part) for part in _split(text)})
    except ValueError:
        batches = []
    if not batches or batches[0] < 1:
        raise BenchmarkError(
            f"--batches {text}: must be whole numbers from 1 with commas between, such as 1,8,32"
        )
    return tuple(batches)


def _contrast(strength: float | None, plausibility: float | None) -> Contrast:
    from pydantic import ValidationError

    from motet_decoding.contrast import Contrast

    told = {"strength": strength, "plausibility": plausibility}
    try:
        return Contrast.model_validate({name: value for name, value in told.items() if value is not None})
    except ValidationError as error:
        problem = error.errors()[0]
        raise BenchmarkError(f"--{problem['loc'][0]}: {problem['msg']}, got {problem['input']}") from None


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _words(options: str) -> list[str]:
    try:
        return shlex.split(options)
    except ValueError as problem:
        raise BenchmarkError(f"--serve-options: {problem}") from None
