"""Servers and loop are set up, measured round by round, and taken down again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from motet_benchmarks.endpoint import Endpoint
from motet_benchmarks.machine import Circumstances
from motet_benchmarks.overhead import report
from motet_benchmarks.overhead.loop import TransformersLoop
from motet_benchmarks.overhead.models import Models
from motet_benchmarks.overhead.rounds import Plan, Rounds, steps_of
from motet_benchmarks.overhead.samples import Measured
from motet_benchmarks.pair import SERVERS, Pair
from motet_benchmarks.progress import Steps, waiting
from motet_benchmarks.results import Grid, check_folder, show
from motet_benchmarks.servers import servers, side_by_side


async def measure(
    plan: Plan,
    pair: Pair,
    *,
    where: Circumstances,
    out: Path,
    urls: Mapping[str, str],
    options: Sequence[str] = (),
    with_loop: bool = True,
) -> None:
    """Measure, and write the files after every round; in the end, whatever brings it about, print the tables.

    Args:
        plan: what to measure.
        pair: the models of the servers that are started, and of the loop.
        where: this machine before anything was started.
        out: the folder for the files.
        urls: servers that run already, by their name in SERVERS; the others are started.
        options: for the servers that are started.
        with_loop: whether to measure the transformers loop and the models' forward passes too.

    Raises BenchmarkError for whatever the user can mend.
    """
    check_folder(out)
    missing = [name for name in SERVERS if name not in urls]
    if missing or with_loop:
        plan = replace(plan, dtype=plan.dtype or pair.precision())
    arguments = pair.arguments(side_by_side(options, plan.dtype)) if missing else {}
    # Before the servers: what can't be loaded is said at once.
    local = Models.load(*pair.located(), plan.dtype) if with_loop and plan.dtype else None
    loop = TransformersLoop(local, plan.contrast) if local else None
    async with AsyncExitStack() as stack:
        with waiting(f"starting {len(missing)} servers" if missing else "connecting"):
            started = await stack.enter_async_context(servers({name: arguments[name] for name in missing}))
            endpoints = {
                name: await stack.enter_async_context(Endpoint({**started, **urls}[name])) for name in SERVERS
            }
        models = {name: endpoint.model for name, endpoint in endpoints.items()}
        written: list[tuple[list[Grid], list[Path]]] = []

        def keep(measured: Measured) -> None:
            written[:] = [report.write(out, plan, models, measured, where)]

        try:
            with Steps("measuring side by side", steps_of(plan, with_loop)) as steps:
                rounds = Rounds(
                    plan, endpoints, steps.next, loop=loop, forward=local.decode if local else None
                )
                await rounds.measure(keep)
        finally:
            for tables, paths in written:
                show(tables, paths)
