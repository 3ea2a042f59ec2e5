"""A server is started and asked the gym's problems; then two are, and raced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from motet_benchmarks.endpoint import Endpoint
from motet_benchmarks.machine import Circumstances
from motet_benchmarks.pair import PAIR, Pair
from motet_benchmarks.progress import Steps, waiting
from motet_benchmarks.results import check_folder, show
from motet_benchmarks.servers import servers, side_by_side
from motet_benchmarks.voices import report, serving
from motet_benchmarks.voices.asking import Questions, questions_of
from motet_benchmarks.voices.duels import GROUPS, NONE, OPTIONS, Duels, steps_of
from motet_benchmarks.voices.idle import busy_share
from motet_benchmarks.voices.plan import Plan
from motet_benchmarks.voices.serving import Served

#: Seconds for which waiting servers are watched.
IDLE_SECONDS = 5.0


async def quality(
    plan: Plan,
    *,
    where: Circumstances,
    out: Path,
    url: str | None = None,
    options: Sequence[str] = (),
) -> None:
    """What the voices gain on the gym: ask, print the tables and write the files.

    Args:
        plan: what to ask.
        where: this machine before anything was started.
        out: the folder for the files.
        url: a server to ask that has the bundled models; one is started where there is none.
        options: for the server that is started.

    Raises BenchmarkError for whatever the user can mend.
    """
    check_folder(out)
    async with AsyncExitStack() as stack:
        with waiting("starting a server" if url is None else "connecting"):
            if url is None:
                arguments = {PAIR: Pair().arguments(options)[PAIR]}
                url = (await stack.enter_async_context(servers(arguments)))[PAIR]
            endpoint = await stack.enter_async_context(Endpoint(url))
        with Steps("asking", questions_of(plan)) as steps:
            answered = await Questions(plan, endpoint, steps.advance).ask()
    with waiting("reckoning"):
        written = report.write(out, plan, answered, where)
    show(*written)


async def speed(
    plan: Plan,
    *,
    where: Circumstances,
    out: Path,
    urls: Mapping[str, str],
    options: Sequence[str] = (),
) -> None:
    """What groups and layers cost to serve: race, print the tables and write the files.

    Args:
        plan: what to race.
        where: this machine before anything was started.
        out: the folder for the files.
        urls: servers that run already, GROUPS and NONE; the others are started.
        options: for the servers that are started.

    Raises BenchmarkError for whatever the user can mend.
    """
    check_folder(out)
    missing = [name for name in (GROUPS, NONE) if name not in urls]
    async with AsyncExitStack() as stack:
        with waiting(f"starting {len(missing)} servers" if missing else "connecting"):
            shared = Pair().arguments(side_by_side(options, None))[PAIR] if missing else []
            started = await stack.enter_async_context(
                servers({name: [*shared, *OPTIONS[name]] for name in missing})
            )
            endpoints = {
                name: await stack.enter_async_context(Endpoint({**started, **urls}[name]))
                for name in (GROUPS, NONE)
            }
        busy = None
        if len(started) == len(endpoints):  # others may wait on another machine
            with waiting("watching servers that wait"):
                busy = await busy_share(IDLE_SECONDS)
        with Steps("side by side", steps_of(plan)) as steps:
            samples = await Duels(plan, endpoints, steps.next).measure()
    with waiting("reckoning"):
        written = serving.write(out, plan, Served(tuple(samples), busy), where)
    show(*written)
