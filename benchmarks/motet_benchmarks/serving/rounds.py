"""The measurement itself: every arm in every round, side by side, so that noise falls on all of them."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from motet_benchmarks.endpoint import Endpoint
from motet_benchmarks.pair import AMATEUR, EXPERT, PAIR
from motet_benchmarks.serving.loop import Loop, closed_loop, static_batches
from motet_benchmarks.serving.timing import Timing, closed, refilled
from motet_benchmarks.serving.workload import arriving, lengths, prompts, take
from motet_decoding.contrast import Contrast

#: The arms: who answers, and how.
PAIR_PLAIN = "pair plain"
PAIR_CONTRAST = "pair contrast"
EXPERT_ALONE = "expert alone"
AMATEUR_ALONE = "amateur alone"
LOOP = "transformers loop"

#: What they are measured on. Servers: batches on the three servers. Together: a batch that begins and ends as one, on
#: the server and in the loop. Arriving: requests that come and end at different times, on the server and in the loop.
ALONE, TOGETHER, ARRIVING = "servers", "together", "arriving"

#: A smaller batch is repeated up to this many requests, or one of 1 would be over before it can be timed.
FEWEST_REQUESTS = 8
#: Arriving requests, as a multiple of the batch.
ARRIVALS = 4
#: Requests arrive this much faster than the server answers them, so that a free place always finds one waiting.
RUSH = 2.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured."""

    batches: tuple[int, ...] = (1, 8, 32, 64)
    loop_batch: int = 32
    tokens: int = 64
    """Of each answer; the mean, where answers differ in length."""
    rounds: int = 9
    minutes: float = 8.0
    """No round is begun after this long."""
    contrast: Contrast = field(default_factory=Contrast)
    dtype: str | None = None
    """Precision of every server that is started and of the loop; that of the expert's weights where there is none.

    Left alone, vLLM serves float32 weights in bfloat16, and transformers doesn't: they couldn't be compared.
    """
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Sample:
    """One arm, measured once."""

    workload: str
    arm: str
    batch: int
    round: int
    requests: int
    tokens: int
    seconds: float
    wait: float
    """Mean seconds from a request's arrival to its whole answer."""

    @property
    def speed(self) -> float:
        """Tokens per second over all requests."""
        return self.tokens / self.seconds


@dataclass(frozen=True, slots=True)
class Measured:
    """All samples, and whether the two ways to contrast said the same."""

    samples: tuple[Sample, ...]
    rounds: int
    agreeing: int
    """Answers of the server that equal the loop's, letter for letter."""
    compared: int


Arm = Callable[[], Awaitable[Timing]]


def steps_of(plan: Plan, with_loop: bool) -> int:
    """How many measurements `plan` makes, warm-up included, unless time runs out first."""
    return (plan.rounds + 1) * (4 * len(plan.batches) + (4 if with_loop else 0))


class Rounds:
    """Measures `plan` on three servers, and on the transformers loop where there is one."""

    def __init__(
        self, plan: Plan, endpoints: Mapping[str, Endpoint], loop: Loop | None, step: Callable[[str], None]
    ) -> None:
        self._plan, self._endpoints, self._loop, self._step = plan, endpoints, loop, step
        self._prompts = prompts(plan.seed)
        self._rng = random.Random(plan.seed)
        self._contrast = plan.contrast.model_dump()
        self._samples: list[Sample] = []
        self._texts: dict[str, list[str]] = {}
        self._agreeing = self._compared = 0

    async def measure(self) -> Measured:
        """One round to warm up, then as many as planned or as time allows, at least one."""
        end = time.monotonic() + 60 * self._plan.minutes
        await self._round(0)
        self._samples, self._agreeing, self._compared = [], 0, 0
        done = 0
        while done < self._plan.rounds and (done == 0 or time.monotonic() < end):
            done += 1
            await self._round(done)
        return Measured(tuple(self._samples), done, self._agreeing, self._compared)

    async def _round(self, number: int) -> None:
        for batch in self._plan.batches:
            await self._compare(ALONE, batch, number, self._servers(batch))
        if self._loop is not None:
            batch = self._plan.loop_batch
            await self._compare(TOGETHER, batch, number, self._both_together(batch, self._loop))
            mine, theirs = self._texts[PAIR_CONTRAST], self._texts[LOOP]
            self._agreeing += sum(one == other for one, other in zip(mine, theirs, strict=True))
            self._compared += len(mine)
            await self._compare(ARRIVING, batch, number, self._both_arriving(batch, self._loop))

    async def _compare(self, workload: str, batch: int, number: int, arms: Mapping[str, Arm]) -> None:
        """Measure `arms`, in turn forwards and backwards: none always comes first."""
        for name in list(arms) if number % 2 == 0 else reversed(list(arms)):
            self._step(f"round {number or 'zero, to warm up'}: {name}, batch {batch}, {workload}")
            timing = await arms[name]()
            self._samples.append(
                Sample(
                    workload=workload,
                    arm=name,
                    batch=batch,
                    round=number,
                    requests=timing.requests,
                    tokens=timing.tokens,
                    seconds=timing.seconds,
                    wait=timing.wait,
                )
            )

    def _servers(self, batch: int) -> dict[str, Arm]:
        texts = take(self._prompts, -(-FEWEST_REQUESTS // batch) * batch)

        def arm(server: str, contrast: bool = False) -> Arm:
            async def run() -> Timing:
                settings = self._contrast if contrast else None
                timing, _ = await closed(
                    self._endpoints[server], texts, batch=batch, tokens=self._plan.tokens, contrast=settings
                )
                return timing

            return run

        return {
            PAIR_PLAIN: arm(PAIR),
            EXPERT_ALONE: arm(EXPERT),
            PAIR_CONTRAST: arm(PAIR, contrast=True),
            AMATEUR_ALONE: arm(AMATEUR),
        }

    def _both_together(self, batch: int, loop: Loop) -> dict[str, Arm]:
        texts = take(self._prompts, batch)

        async def server() -> Timing:
            timing, self._texts[PAIR_CONTRAST] = await closed(
                self._endpoints[PAIR], texts, batch=batch, tokens=self._plan.tokens, contrast=self._contrast
            )
            return timing

        async def static() -> Timing:
            timing, self._texts[LOOP] = closed_loop(loop, texts, batch=batch, tokens=self._plan.tokens)
            return timing

        return {PAIR_CONTRAST: server, LOOP: static}

    def _both_arriving(self, batch: int, loop: Loop) -> dict[str, Arm]:
        sizes = lengths(ARRIVALS * batch, self._plan.tokens, self._rng)
        pace = next(
            s.speed for s in reversed(self._samples) if (s.workload, s.arm) == (TOGETHER, PAIR_CONTRAST)
        )
        orders = arriving(self._prompts, sizes, span=sum(sizes) / pace / RUSH, rng=self._rng)

        async def server() -> Timing:
            return await refilled(self._endpoints[PAIR], orders, batch=batch, contrast=self._contrast)

        async def static() -> Timing:
            return static_batches(loop, orders, batch=batch)

        return {PAIR_CONTRAST: server, LOOP: static}
