"""A server is started if need be, and every strategy is asked."""

from __future__ import annotations

import asyncio
import secrets
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.machine import Circumstances, told
from motet_benchmarks.pair import PAIR, Pair
from motet_benchmarks.progress import Steps, waiting
from motet_benchmarks.servers import servers, terminable
from motet_benchmarks.strategies.asking import Asker
from motet_benchmarks.strategies.folder import RunFolder
from motet_benchmarks.strategies.grading import grade
from motet_benchmarks.strategies.plan import Plan
from motet_benchmarks.strategies.records import Run
from motet_benchmarks.strategies.rewards import Judge
from motet_benchmarks.strategies.session import Session, questions_of
from motet_benchmarks.strategies.streaming import StreamingEndpoint
from motet_benchmarks.strategies.tasks.task import record_of


class Measured(NamedTuple):
    """A run to its end."""

    folder: Path
    run: Run
    """As it is written there."""
    before: int
    """How many of its answers were there before."""


async def measure(
    plan: Plan,
    pair: Pair,
    *,
    where: Circumstances,
    url: str | None = None,
    name: str | None = None,
    options: Sequence[str] = (),
) -> Measured:
    """Ask what the plan's folder lacks.

    Args:
        plan: what to ask.
        pair: the models of the server that is started.
        where: this machine before anything was started.
        url: an endpoint to ask instead.
        name: the model of strategies that name none; the endpoint's first where there is none.
        options: for the server that is started.

    Raises BenchmarkError for whatever the user can mend; what was answered until then stays in the folder.
    """
    async with AsyncExitStack() as stack:
        stack.enter_context(terminable())
        with waiting("starting a server" if url is None else "connecting"):
            asked = url
            if asked is None:
                arguments = {PAIR: pair.arguments(options)[PAIR]}
                asked = (await stack.enter_async_context(servers(arguments)))[PAIR]
            endpoint = await stack.enter_async_context(StreamingEndpoint(asked, model=name))
            models = await endpoint.models()
        run = Run(
            command=where.command,
            circumstances=asdict(where),
            url=None if url is None else endpoint.url,
            server=_told(pair, options),
            model=endpoint.model,
            strategies=plan.wanted.of(models),
            tasks=tuple(record_of(task) for task in plan.tasks),
            draws=plan.draws,
            seed=plan.seed,
            tokens=plan.tokens,
            judge=plan.judge,
            concurrency=plan.concurrency,
            warm_up=plan.warm_up or (plan.concurrency if url is None else 1),
            stream=plan.stream,
            salted=await endpoint.salted(),
        )
        path = plan.place(run)
        with RunFolder(path, run) as folder:
            try:
                await _asked(plan, folder, endpoint)
            except BenchmarkError as error:
                raise BenchmarkError(f"{error}\n{_kept(folder)}" if folder.samples else str(error)) from None
            except asyncio.CancelledError:
                if folder.samples:
                    print(_kept(folder), file=sys.stderr)
                raise
            return Measured(path, folder.run, folder.before)


def _told(pair: Pair, options: Sequence[str]) -> str:
    models = [] if pair.expert is None else ["--model", pair.expert, "--amateur", str(pair.amateur)]
    return told([*models, *options])


def _kept(folder: RunFolder) -> str:
    return f"{len(folder.samples):,} answers are in {folder.path}; the same command goes on from there"


async def _asked(plan: Plan, folder: RunFolder, endpoint: StreamingEndpoint) -> None:
    folder.drop_refused()
    await grade(folder, plan.tasks)
    judge = None if plan.judge is None else Judge(endpoint, plan.judge)
    if judge is not None:
        await judge.check()
    run = folder.run
    salt = secrets.token_hex(8) if run.salted else None
    total = sum(len(questions_of(run, strategy, plan.tasks)) for strategy in run.strategies)
    with Steps(f"asking {len(run.strategies)} strategies", total) as steps:

        def done(count: int) -> None:
            for _ in range(count):
                steps.advance()

        asker = Asker(endpoint, run, stream=plan.stream, salt=salt)
        warm_up = run.warm_up or 1
        session = Session(asker, folder, plan.tasks, plan.concurrency, warm_up, judge, done, steps.describe)
        await session.ask()
