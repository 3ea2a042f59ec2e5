"""Servers are started or found, put under load, and the files written after every step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path

from motet_benchmarks.load import report
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

    Args:
        plan: how much load.
        mix: of what.
        prompts: what is asked.
        where: this machine before anything was started.
        out: the folder for the files.
        urls: the servers by what tables call them, the first to be compared with; one without an address is started.
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
                    StreamingEndpoint(started[name] if url is None else url)
                )
                for name, url in urls.items()
            }
        named = tuple(
            Server(name=name, url=urls[name], model=endpoint.model) for name, endpoint in endpoints.items()
        )

        def keep(measured: Measured) -> None:
            load = _load(plan, named, measured, prompts, where)
            written[:] = [report.write(out, load, measured.samples, where)]

        try:
            with Steps("load", steps_of(plan, len(named))) as steps:
                await Session(plan, endpoints, mix, prompts, steps.next).measure(keep)
        finally:
            for tables, paths in written:
                show(tables, paths)


def _load(
    plan: Plan, named: tuple[Server, ...], measured: Measured, prompts: Prompts, where: Circumstances
) -> Load:
    members = [member.strategy.name for member in measured.mix]
    reckoning = Reckoning(plan, [server.name for server in named], members, measured.samples, measured.steps)
    return Load(
        command=where.command,
        circumstances=asdict(where),
        servers=named,
        mix=measured.mix,
        refused=measured.refused,
        steps=plan.steps,
        ramp=plan.ramp is not None,
        seconds=plan.step_seconds,
        segments=plan.segments,
        warm_up=plan.warm_up,
        tokens=plan.tokens,
        exact=plan.exact,
        stream=plan.stream,
        timeout=plan.timeout,
        max_open=plan.max_open,
        targets=plan.targets,
        prompts=prompts.name,
        seed=plan.seed,
        errors=measured.errors,
        figures=reckoning.figures(),
        ratios=reckoning.ratios(),
        client=reckoning.clients(),
    )
