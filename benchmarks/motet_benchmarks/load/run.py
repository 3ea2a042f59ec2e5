"""Servers are started or found, put under load, and the files written after every step."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path

from motet_benchmarks.endpoint import KEY_VARIABLE
from motet_benchmarks.load import report, unfinished
from motet_benchmarks.load.figures import Reckoning
from motet_benchmarks.load.plan import Plan
from motet_benchmarks.load.prompts import Prompts
from motet_benchmarks.load.records import Load, Member, Server
from motet_benchmarks.load.session import Measured, Session, steps_of
from motet_benchmarks.machine import Circumstances
from motet_benchmarks.pair import PAIR, Pair
from motet_benchmarks.progress import Steps, waiting
from motet_benchmarks.results import Grid, check_folder, show
from motet_benchmarks.servers import servers
from motet_benchmarks.strategies.patience import Patience
from motet_benchmarks.strategies.streaming import StreamingEndpoint


async def measure(
    plan: Plan,
    mix: Sequence[Member],
    prompts: Prompts,
    *,
    where: Circumstances,
    out: Path,
    urls: Mapping[str, str | None],
    options: Sequence[str] = (),
) -> None:
    """Measure, and write the files after every step; in the end, whatever brings it about, print the tables.

    Where it ends within a step, the requests of that one are written into a file of their own.

    Args:
        plan: how much load.
        mix: of what.
        prompts: what is asked.
        where: this machine before anything was started.
        out: the folder for the files.
        urls: the servers by what tables call them, the first to be compared with; one without an address is started.
            Behind a # an address may name the model that is asked.
        options: for the server that is started.

    Raises BenchmarkError for whatever the user can mend.
    """
    check_folder(out)
    written: list[tuple[list[Grid], list[Path]]] = []
    async with AsyncExitStack() as stack:
        missing = [name for name, url in urls.items() if url is None]
        with waiting("starting a server" if missing else "connecting"):
            arguments = {name: Pair().arguments(options)[PAIR] for name in missing}
            started = await stack.enter_async_context(servers(arguments))
            endpoints = {
                name: await stack.enter_async_context(
                    _endpoint(started[name] if url is None else url, key_of(name, first=place == 0))
                )
                for place, (name, url) in enumerate(urls.items())
            }
        named = tuple(
            Server(name=name, url=None if urls[name] is None else endpoint.url, model=endpoint.model)
            for name, endpoint in endpoints.items()
        )

        def keep(measured: Measured) -> None:
            load = _load(named, measured, prompts, where)
            written[:] = [report.write(out, load, measured.samples, where)]

        session = Session(plan, endpoints, mix, prompts)
        unfinished.drop(out)
        try:
            with Steps("load", steps_of(plan, len(named))) as steps:
                await session.measure(keep, steps.next)
        finally:
            for tables, paths in written:
                show(tables, paths)
            if session.unfinished:
                path = unfinished.write(out, session.unfinished)
                print(
                    f"stopped: the {len(session.unfinished):,} requests of the unfinished step are in {path}",
                    file=sys.stderr,
                )


def key_of(name: str, *, first: bool) -> str:
    """The variable that holds the key of a server: nobody's key goes to another."""
    return KEY_VARIABLE if first else f"{KEY_VARIABLE}_{re.sub('[^A-Z0-9]', '_', name.upper())}"


def _endpoint(address: str, key: str) -> StreamingEndpoint:
    """Without patience: under load a request that is turned away has failed."""
    url, _, model = address.partition("#")
    return StreamingEndpoint(url, model=model or None, key=key, patience=Patience(0))


def _load(named: tuple[Server, ...], measured: Measured, prompts: Prompts, where: Circumstances) -> Load:
    plan = measured.tried.plan
    answered = [sample for sample in measured.samples if sample.answered]
    members = [member.strategy.name for member in measured.tried.mix]
    reckoning = Reckoning(plan, [server.name for server in named], members, measured.samples, measured.steps)
    return Load(
        command=where.command,
        circumstances=asdict(where),
        servers=named,
        mix=measured.tried.mix,
        refused=measured.tried.refused,
        steps=plan.steps,
        ramp=plan.ramp is not None,
        seconds=plan.step_seconds,
        segments=plan.segments,
        warm_up=plan.warm_up,
        tokens=plan.tokens,
        exact=plan.exact,
        inexact=measured.tried.inexact,
        stream=plan.stream,
        timeout=plan.timeout,
        max_open=plan.max_open,
        targets=plan.targets,
        prompts=prompts.name,
        seed=plan.seed,
        errors=measured.errors,
        at_once=Counter(sample.server for sample in answered if sample.at_once),
        counted=Counter(sample.server for sample in answered if sample.counted),
        figures=reckoning.figures(),
        ratios=reckoning.ratios(),
        client=reckoning.clients(),
    )
