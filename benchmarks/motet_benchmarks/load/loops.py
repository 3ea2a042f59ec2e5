"""Requests sent when they are due, whatever became of those before, or by clients that ask one after the other.

Either way more come than are measured: the last ones would otherwise be answered by a server that empties, and sooner
than under the load that they stand for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import suppress
from typing import Any

from motet_benchmarks.endpoint import together
from motet_benchmarks.load.arrivals import Arrival, Order
from motet_benchmarks.load.asking import Asker
from motet_benchmarks.load.plan import Turn
from motet_benchmarks.load.samples import Sample

#: Seconds after which a client whose request failed asks again: a server that refuses at once isn't asked without end.
PAUSE = 0.1


async def open_loop(asker: Asker, turn: Turn, arrivals: Iterator[Arrival]) -> None:
    """Sends each arrival when it is due, until those of the turn are settled; what is open then is given up."""
    clock = asyncio.get_running_loop().time
    start = clock() + turn.warm_up
    places = asyncio.Semaphore(asker.plan.max_open)
    asked: list[asyncio.Task[Sample]] = []
    settled: asyncio.Future[list[Sample]] | None = None
    try:
        for arrival in arrivals:
            pause = start + arrival.due - clock()
            if arrival.due < turn.seconds:
                await asyncio.sleep(pause)
            else:
                settled = asyncio.gather(*asked) if settled is None else settled
                await asyncio.wait([settled], timeout=max(0.0, pause))
                if settled.done():
                    settled.result()
                    break
            job = asker.ask(turn, start, arrival.due, arrival.order, places)
            asked.append(asyncio.create_task(job))
    finally:
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)


async def closed_loop(asker: Asker, turn: Turn, orders: Iterator[Order]) -> None:
    """The turn's clients each ask, wait for the answer and ask again, until the requests of its time are settled.

    What is open then is given up. Raises ValueError for an open turn.
    """
    if turn.concurrency is None:
        raise ValueError("only a closed loop has clients")
    clock = asyncio.get_running_loop().time
    start = clock() + turn.warm_up
    places = asyncio.Semaphore(turn.concurrency)
    ours = 0

    async def client() -> None:
        nonlocal ours
        while (due := clock() - start) < turn.seconds or ours:
            counts = due < turn.seconds
            ours += counts
            sample = await asker.ask(turn, start, due, next(orders), places)
            ours -= counts
            if not sample.answered:
                await asyncio.sleep(PAUSE)
        raise _Settled

    clients: list[Coroutine[Any, Any, None]] = [client() for _ in range(turn.concurrency)]
    with suppress(_Settled):
        await together(clients)


class _Settled(Exception):
    """Every request that is measured is settled."""
