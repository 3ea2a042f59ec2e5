"""The measurement itself: clients that never pause, swaps that come and stay away in turn, eyes on the server."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from motet_benchmarks.adapters.asking import Asker
from motet_benchmarks.adapters.plan import BASE_SHARE, PINNED_AMONG, PINNED_SHARE, Plan
from motet_benchmarks.adapters.publishing import Publisher
from motet_benchmarks.adapters.samples import (
    ARMS,
    BASE,
    CURRENT,
    PINNED,
    PROBE,
    WITH,
    Measured,
    Phase,
    Reading,
    Reply,
    Swap,
)
from motet_benchmarks.errors import BenchmarkError

#: Seconds between two looks at memory and listing, and between two probes.
LOOK, PROBE_PAUSE = 0.5, 0.01
#: After a failure, so that a server that is down for a moment isn't counted by how fast it refuses.
PROBLEM_PAUSE = 0.5
#: Memory that rises by less in one phase is still; and the most phases that are waited for it to be.
STILL, WARMEST = 2**21, 4
#: More failures say nothing new; the run ends, and the report tells of these.
MOST_PROBLEMS = 200


class Session:
    """Asks one server while versions are published.

    Args:
        plan: how much.
        asker: entered; is told to report first tokens here.
        publisher: publishes the next version of `name`.
        memory: the server's resident bytes.
        prompts: token ids of each.
        name: the adapter's.
        base: the base model's name on the server.
        step: called with what begins.
        clock: the same as the asker's and the publisher's.
    """

    def __init__(
        self,
        plan: Plan,
        asker: Asker,
        publisher: Publisher,
        memory: Callable[[], int | None],
        *,
        prompts: Sequence[Sequence[int]],
        name: str,
        base: str,
        step: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._plan, self._asker, self._publisher, self._memory = plan, asker, publisher, memory
        self._prompts, self._name, self._base = prompts, name, base
        self._step, self._clock = step, clock
        self._replies: list[Reply] = []
        self._swaps: list[Swap] = []
        self._readings: list[Reading] = []
        self._phases: list[Phase] = []
        self._seen: dict[str, asyncio.Event] = {}
        self._problems = 0
        self._over = False
        asker.tell = self._first_token

    async def measure(self, first: Swap) -> Measured:
        """Everything, once the server answers with the version `first`. An error of the publisher's is raised."""
        self._swaps.append(first)
        cached = await self._asker.cached()
        self._event(first.reference).set()
        tasks = [asyncio.create_task(self._client(number)) for number in range(self._plan.clients)]
        tasks += [asyncio.create_task(self._probe()), asyncio.create_task(self._watch())]
        stopped = None
        try:
            await self._rounds()
            if self._problems >= MOST_PROBLEMS:
                stopped = f"{self._problems} requests had failed"
            self._over = True
            await asyncio.gather(*tasks)
            await self._look()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return Measured(
            tuple(self._replies),
            tuple(self._swaps),
            tuple(self._readings),
            tuple(self._phases),
            stopped,
            _share(cached, await self._asker.cached()),
        )

    async def _rounds(self) -> None:
        await self._warm_up()
        for number, swaps in enumerate(self._plan.by_round, start=1):
            for arm in ARMS if number % 2 else reversed(ARMS):
                if self._problems >= MOST_PROBLEMS:
                    return
                self._step(f"round {number}: {arm}, {len(self._swaps) - 1} of {self._plan.swaps} done")
                begun = self._clock()
                await (self._swapping(swaps) if arm == WITH else self._quiet())
                self._phases.append(Phase(arm, number, begun, self._clock()))

    async def _warm_up(self) -> None:
        """Until the server's memory is still: what it takes for the load itself is no growth."""
        self._step("warming up")
        for _ in range(WARMEST):
            before = self._memory()
            await self._quiet()
            after = self._memory()
            if before is None or after is None or after - before < STILL:
                return

    async def _quiet(self) -> None:
        end = self._clock() + self._plan.seconds
        while self._clock() < end and self._problems < MOST_PROBLEMS:
            await asyncio.sleep(min(0.1, max(0.0, end - self._clock())))

    async def _swapping(self, count: int) -> None:
        for _ in range(count):
            if self._problems >= MOST_PROBLEMS:
                return
            begun = self._clock()
            swap = await asyncio.to_thread(self._publisher.publish, len(self._swaps))
            self._swaps.append(swap)
            await self._heard(swap.reference)
            await asyncio.to_thread(self._publisher.tidy)
            await asyncio.sleep(max(0.0, begun + 1 / self._plan.rate - self._clock()))

    async def _heard(self, reference: str) -> None:
        """Waits for the version's first token, and not for ever: the report tells of a version that nobody heard."""
        event = self._event(reference)
        end = self._clock() + self._plan.patience
        while not event.is_set() and self._clock() < end and self._problems < MOST_PROBLEMS:
            with suppress(TimeoutError):
                await asyncio.wait_for(event.wait(), 0.5)

    async def _client(self, number: int) -> None:
        rng = random.Random(f"{self._plan.seed} {number}")
        while not self._over:
            drawn = rng.random()
            if drawn < BASE_SHARE:
                asked, model = BASE, self._base
            elif drawn < BASE_SHARE + PINNED_SHARE:
                asked, model = PINNED, rng.choice(self._pinnable())
            else:
                asked, model = CURRENT, self._name
            await self._ask(asked, model, rng.randrange(len(self._prompts)), self._plan.tokens)

    async def _probe(self) -> None:
        while not self._over:
            await self._ask(PROBE, self._name, 0, 1)
            await asyncio.sleep(PROBE_PAUSE)

    async def _ask(self, asked: str, model: str, prompt: int, tokens: int) -> None:
        reply = await self._asker.ask(asked, model, prompt, self._prompts[prompt], tokens)
        self._keep(reply)
        if reply.problem is not None:
            await asyncio.sleep(PROBLEM_PAUSE)

    def _keep(self, reply: Reply) -> None:
        self._replies.append(reply)
        self._problems += reply.problem is not None

    async def _watch(self) -> None:
        while not self._over:
            await self._look()
            await asyncio.sleep(LOOK)

    async def _look(self) -> None:
        listing = await self._asker.listing()
        if isinstance(listing, Reply):
            self._keep(listing)
        else:
            done = len(self._swaps) - 1
            self._readings.append(Reading(self._clock(), done, self._memory(), listing.loaded))

    def _first_token(self, version: str, moment: float) -> None:
        self._event(version).set()

    def _event(self, reference: str) -> asyncio.Event:
        return self._seen.setdefault(reference, asyncio.Event())

    def _pinnable(self) -> list[str]:
        """The newest versions that have been seen."""
        seen = [swap.reference for swap in self._swaps if self._event(swap.reference).is_set()]
        return seen[-PINNED_AMONG:]


def _share(before: tuple[float, float] | None, after: tuple[float, float] | None) -> float | None:
    """Of the prompts' tokens between two readings, those that were found in the cache."""
    if before is None or after is None or after[1] <= before[1]:
        return None
    return (after[0] - before[0]) / (after[1] - before[1])


async def settled(asker: Asker, swap: Swap, ids: Sequence[int], patience: float) -> None:
    """Waits until the version is answered under its name. Raises BenchmarkError if that isn't so in time."""
    name = swap.reference.partition("@")[0]
    end = time.monotonic() + patience
    while True:
        reply = await asker.ask(PROBE, name, 0, ids, 1)
        if reply.version == swap.reference and reply.problem is None:
            return
        if time.monotonic() > end:
            raise BenchmarkError(
                f"{swap.reference} was published and isn't served {patience:.0f} s later: "
                f"{reply.problem or f'{reply.version} answers'}"
            )
        await asyncio.sleep(0.1)
