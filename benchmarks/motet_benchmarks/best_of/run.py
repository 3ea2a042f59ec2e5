"""A server is started, asked for candidates, raced and loaded; then everything is told."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from motet_benchmarks.best_of import report
from motet_benchmarks.best_of.candidates import Pool, pools, tried
from motet_benchmarks.best_of.cheaper import Saving, saving
from motet_benchmarks.best_of.figures import Point, families, greedy, points
from motet_benchmarks.best_of.load import Load, Loaded, loaded
from motet_benchmarks.best_of.measured import Measured
from motet_benchmarks.best_of.plan import DIRECT, REWARD, WORKED, Plan
from motet_benchmarks.best_of.scorers import between, spent
from motet_benchmarks.best_of.speed import ARMS, Sample, Speed
from motet_benchmarks.endpoint import Endpoint
from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.machine import Circumstances
from motet_benchmarks.pair import PAIR, Pair
from motet_benchmarks.progress import Steps, waiting
from motet_benchmarks.results import check_folder, show
from motet_benchmarks.servers import servers
from motet_decoding.best_of.select import ranked


async def measure(
    plan: Plan,
    *,
    where: Circumstances,
    out: Path,
    url: str | None = None,
    options: Sequence[str] = (),
    with_speed: bool = True,
) -> None:
    """Measure, print the tables and write the files.

    Args:
        plan: what to measure.
        where: this machine before anything was started.
        out: the folder for the files.
        url: a server to ask that has the plan's adapters; one with the bundled models is started where there is none.
        options: for the server that is started.
        with_speed: whether to measure speed and load too.

    Raises BenchmarkError for whatever the user can mend.
    """
    check_folder(out)
    check_problems(plan)
    async with AsyncExitStack() as stack:
        with waiting("starting a server" if url is None else "connecting"):
            if url is None:
                arguments = {PAIR: Pair().arguments(options)[PAIR]}
                url = (await stack.enter_async_context(servers(arguments)))[PAIR]
            endpoint = await stack.enter_async_context(Endpoint(url))
        before = await spent(endpoint.url)
        drawn = {kind: await _drawn(endpoint, plan, kind) for kind in (DIRECT, WORKED)}
        after = await spent(endpoint.url)
        savings = await _savings(endpoint, plan, drawn)
        raced: list[Sample] = []
        beside: Loaded | None = None
        if with_speed:
            raced, beside = await _speed(endpoint, plan)
    kinds = {kind: found for kind, found in drawn.items() if found}
    everything = tuple(pool for found in kinds.values() for pool in found)
    figures: list[Point] = []
    each: list[Point] = []
    with waiting("reckoning"):
        for kind, found in kinds.items():
            figures += points(kind, found, plan)
            each += families(kind, found, plan)
    measured = Measured(
        points=tuple(figures),
        families=tuple(each),
        greedy={kind: greedy(found, seed=plan.seed) for kind, found in kinds.items()},
        agreeing=sum(pool.chosen == ranked(pool.scores[REWARD])[0] for pool in everything),
        pools=everything,
        savings=tuple(savings),
        speed=tuple(raced),
        loaded=beside,
        scorers=between(before, after),
    )
    show(*report.write(out, plan, measured, where))


def check_problems(plan: Plan) -> None:
    """Raises BenchmarkError for families that the gym doesn't have, and where there is nothing to ask."""
    try:
        found = [*plan.problems(DIRECT), *plan.problems(WORKED)]
    except ValueError as problem:
        raise BenchmarkError(f"--{problem}") from None
    if not found:
        raise BenchmarkError("--count, --worked: nothing is asked; give one of them")


async def _drawn(endpoint: Endpoint, plan: Plan, kind: str) -> list[Pool]:
    count = len(plan.problems(kind))
    with Steps(f"drawing {plan.n} candidates, {kind}", count) as steps:
        return await pools(endpoint, plan, kind, steps.advance)


async def _savings(endpoint: Endpoint, plan: Plan, drawn: dict[str, list[Pool]]) -> list[Saving]:
    recipes = [recipe for recipe in plan.recipes if drawn[recipe.kind]]
    found = []
    with Steps("cheaper ways", sum(len(drawn[recipe.kind]) for recipe in recipes)) as steps:
        for recipe in recipes:
            answers = await tried(endpoint, plan, recipe, steps.advance)
            found.append(saving(recipe, drawn[recipe.kind], answers, seed=plan.seed))
    return found


async def _speed(endpoint: Endpoint, plan: Plan) -> tuple[list[Sample], Loaded]:
    with Steps("one request against several", (plan.rounds + 1) * len(plan.clients) * len(ARMS)) as steps:
        raced = await Speed(plan, endpoint, steps.next).measure()
    with Steps("plain requests beside others", 2 * (plan.phases + 1)) as steps:
        replies = await Load(plan, endpoint, steps.next, endpoint.model).measure()
    try:
        return raced, loaded(replies, seed=plan.seed)
    except ValueError as problem:
        raise BenchmarkError(f"{endpoint.url}: {problem}") from None
