"""``motet bench strategies``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from motet_benchmarks.options import Amateur, Model, Seed, ServeOptions, complaints, server_options, words


def strategies(
    url: Annotated[
        str | None,
        typer.Option(
            help="Any OpenAI-compatible endpoint, its key in MOTET_API_KEY; a server is started when left out."
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="The model of strategies that name none; the endpoint's first when left out."),
    ] = None,
    model: Model = None,
    amateur: Amateur = None,
    run: Annotated[
        Path | None,
        typer.Option(
            help="The run's folder, where the same command goes on; its own one under $MOTET_HOME/runs when left out."
        ),
    ] = None,
    strategies: Annotated[
        str | None,
        typer.Option(
            help="Strategies, with commas between: built-in words (plain, sampled, contrast, contrast:base, "
            "contrast:ADAPTER, layers:low, best-of-8, best-of-8:SCORER), a model, an adapter or a preset of the "
            "endpoint, MODEL/STRATEGY, and FILE.yaml for all of a file, `name: {model, sampling, contrast, best_of}`. "
            "The first is what others are compared with."
        ),
    ] = None,
    strategy: Annotated[
        list[str] | None,
        typer.Option(
            help="One more, NAME=JSON, the JSON as in a file; greedy unless it says a temperature or a best_of."
        ),
    ] = None,
    sweep: Annotated[
        list[str] | None,
        typer.Option(
            help="One more strategy for each point, 'contrast strength=0.25,0.5 x plausibility=0,0.1'."
        ),
    ] = None,
    across: Annotated[
        str | None, typer.Option(help="Models, with commas between: every strategy with every one.")
    ] = None,
    tasks: Annotated[
        str,
        typer.Option(
            help="Tasks, with commas between: gym, FILE.jsonl, gsm8k:FILE, and lm-eval:TASK for what an installed "
            "lm_eval knows, a task's FILE.yaml among them; behind it may stand :METRIC, and :FILTER behind that."
        ),
    ] = "gym",
    grader: Annotated[
        str | None,
        typer.Option(
            help="Of answers to a FILE.jsonl: exact (when left out), contains, number, regex, none, or "
            "python:FILE.py:NAME or python:MODULE:NAME, a function of yours, called in a process of its own with "
            "the answer and the line's fields, for a grade from 0 to 1 within a minute."
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            min=1, help="The first so many lines of each file and of lm_eval's tasks; all when left out."
        ),
    ] = None,
    lm_eval_options: Annotated[
        str, typer.Option(help='Further options of lm_eval, such as "--num_fewshot 5".')
    ] = "",
    count: Annotated[
        int | None, typer.Option(min=1, help="Test problems of each family of the gym; 4 when left out.")
    ] = None,
    families: Annotated[
        str | None, typer.Option(help="Families of the gym, with commas between; all when left out.")
    ] = None,
    draws: Annotated[
        int, typer.Option(min=1, help="Answers to each problem by each strategy that isn't greedy.")
    ] = 1,
    judge: Annotated[
        str | None,
        typer.Option(help="A reward adapter or model of the endpoint, asked for a reward of each answer."),
    ] = None,
    tokens: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="The longest answer. When left out: 128 in the gym, 512 for files, and what lm_eval says for its own. "
            "A strategy's own max_tokens comes first.",
        ),
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="The most requests at once.")] = 16,
    warm_up: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Answers of each strategy that come first and don't count. When left out: 1 of a running endpoint, "
            "and --concurrency of a server that is started.",
        ),
    ] = None,
    stream: Annotated[bool, typer.Option(help="Ask for streams, and time the tokens in them.")] = True,
    serve_options: ServeOptions = "",
    seed: Seed = 0,
) -> None:
    """Which decoding strategy answers best, at what price: quality, tokens and time on the same problems."""
    import asyncio

    from motet_benchmarks.machine import circumstances
    from motet_benchmarks.pair import Pair
    from motet_benchmarks.results import show
    from motet_benchmarks.strategies.applying import check
    from motet_benchmarks.strategies.plan import ANYWHERE, BUNDLED, Plan, wanted
    from motet_benchmarks.strategies.reading import read
    from motet_benchmarks.strategies.report.analysis import analyse
    from motet_benchmarks.strategies.report.tables import quality
    from motet_benchmarks.strategies.report.writing import write
    from motet_benchmarks.strategies.run import measure
    from motet_benchmarks.strategies.tasks.named import Choosing, tasks_of

    where = circumstances()
    with complaints():
        check(
            words(tasks),
            started=url is None,
            told={
                "--model": model,
                "--amateur": amateur,
                "--serve-options": serve_options,
                "--grader": grader,
                "--limit": limit,
                "--lm-eval-options": lm_eval_options,
                "--count": count,
                "--families": families,
            },
        )
        pair = Pair(model, amateur)
        bundled = url is None and model is None
        choosing = Choosing(
            count=count or 4,
            families=None if families is None else tuple(words(families)),
            limit=limit,
            grader=grader or "exact",
            seed=seed,
            lm_eval=tuple(server_options(lm_eval_options, "--lm-eval-options")),
        )
        plan = Plan(
            wanted=wanted(
                words(strategies or ""),
                strategy or (),
                sweep or (),
                words(across or ""),
                default=BUNDLED if bundled else ANYWHERE,
            ),
            tasks=tuple(tasks_of(words(tasks), choosing)),
            folder=run,
            draws=draws,
            judge=judge,
            tokens=tokens,
            concurrency=concurrency,
            stream=stream,
            warm_up=warm_up,
            seed=seed,
        )
        found = asyncio.run(
            measure(plan, pair, where=where, url=url, name=name, options=server_options(serve_options))
        )
        if found.before:
            date = found.run.circumstances.get("date", "before")
            typer.echo(f"{found.before:,} answers were there already, the first of {date}", err=True)
        for refused, reason in found.run.refused.items():
            typer.echo(f"{refused}: not served: {reason}", err=True)
        paths = write(found.folder)
        seen = analyse(read(found.folder))
        show([quality(seen, task.name, task.metric) for task in seen.table.run.tasks], paths)
