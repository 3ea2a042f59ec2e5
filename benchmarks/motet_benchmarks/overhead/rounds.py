"""The measurement itself: every arm in every round, side by side, so that noise falls on all of them."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace

from motet_benchmarks.endpoint import Endpoint
from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.overhead.loop import Loop, closed_loop, static_batches
from motet_benchmarks.overhead.models import Forward
from motet_benchmarks.overhead.samples import (
    ALONE,
    AMATEUR_FORWARD,
    ARRIVING,
    EXPERT_ALONE,
    EXPERT_FORWARD,
    FORWARD,
    LOOP,
    PAIR_CONTRAST,
    PAIR_PLAIN,
    TOGETHER,
    Abandoned,
    Measured,
    Sample,
)
from motet_benchmarks.overhead.timing import Timing, closed, refilled
from motet_benchmarks.overhead.workload import arriving, lengths, prompts, take
from motet_benchmarks.pair import EXPERT, PAIR
from motet_decoding.contrast import Contrast

#: A batch is repeated this often, or up to this many requests, or it would be over before it can be timed.
FEWEST_BATCHES, FEWEST_REQUESTS = 2, 8
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
    rounds: int = 12
    minutes: float = 6.0
    """Measuring takes no longer, but for one round at least: no other is begun that might end later."""
    contrast: Contrast = field(default_factory=Contrast)
    dtype: str | None = None
    """Precision of every server that is started and of the loop; that of the expert's weights where there is none.

    Left alone, vLLM serves float32 weights in bfloat16, and transformers doesn't: they couldn't be compared.
    """
    seed: int = 0


Arm = Callable[[], Awaitable[Timing]]


def steps_of(plan: Plan, with_loop: bool) -> int:
    """How many measurements `plan` makes, warm-up included, unless time runs out first."""
    return (plan.rounds + 1) * ((4 if with_loop else 3) * len(plan.batches) + (4 if with_loop else 0))


class Rounds:
    """Measures `plan` on two servers, and in this process where there are a loop and the models' forward passes."""

    def __init__(
        self,
        plan: Plan,
        endpoints: Mapping[str, Endpoint],
        step: Callable[[str], None],
        *,
        loop: Loop | None = None,
        forward: Forward | None = None,
    ) -> None:
        self._plan, self._endpoints, self._step = plan, endpoints, step
        self._loop, self._forward = loop, forward
        self._prompts = prompts(plan.seed)
        self._rng = random.Random(plan.seed)
        self._contrast = plan.contrast.model_dump()
        self._texts: dict[str, list[str]] = {}

    async def measure(self, keep: Callable[[Measured], None]) -> Measured:
        """One round to warm up, then as many as planned or as time allows, at least one.

        After every round `keep` is told what has been measured so far. An error ends only the round that it falls
        into; a second one in the round after, or in the only round, is raised as the BenchmarkError it is.
        """
        end = time.monotonic() + 60 * self._plan.minutes
        await self._round(0)
        measured = Measured((), 0, 0, 0)
        longest = 0.0
        for number in range(1, self._plan.rounds + 1):
            begun = time.monotonic()
            if measured.rounds and begun + longest > end:
                break
            try:
                samples, agreeing, compared = await self._round(number)
            except BenchmarkError as error:
                last = measured.abandoned[-1].round if measured.abandoned else None
                if last == number - 1 or (number == self._plan.rounds and not measured.rounds):
                    raise
                abandoned = (*measured.abandoned, Abandoned(number, str(error)))
                measured = replace(measured, abandoned=abandoned)
            else:
                measured = replace(
                    measured,
                    samples=(*measured.samples, *samples),
                    rounds=measured.rounds + 1,
                    agreeing=measured.agreeing + agreeing,
                    compared=measured.compared + compared,
                )
            if measured.rounds:
                keep(measured)
            longest = max(longest, time.monotonic() - begun)
        return measured

    async def _round(self, number: int) -> tuple[list[Sample], int, int]:
        """The round's samples, and how many answers of server and loop agree of how many."""
        samples: list[Sample] = []
        for batch in self._plan.batches:
            samples += await self._compare(ALONE, batch, number, self._servers(batch))
            if self._forward is not None:
                samples += self._passes(batch, number, self._forward)
        if self._loop is None:
            return samples, 0, 0
        batch = self._plan.loop_batch
        together = await self._compare(TOGETHER, batch, number, self._both_together(batch, self._loop))
        pace = next(sample.speed for sample in together if sample.arm == PAIR_CONTRAST)
        mine, theirs = self._texts[PAIR_CONTRAST], self._texts[LOOP]
        agreeing = sum(one == other for one, other in zip(mine, theirs, strict=True))
        arriving = await self._compare(ARRIVING, batch, number, self._both_arriving(batch, self._loop, pace))
        return [*samples, *together, *arriving], agreeing, len(mine)

    async def _compare(self, workload: str, batch: int, number: int, arms: Mapping[str, Arm]) -> list[Sample]:
        """Measure `arms`, in turn forwards and backwards: none always comes first."""
        samples = []
        for name in list(arms) if number % 2 == 0 else reversed(list(arms)):
            self._tell(number, name, batch, workload)
            timing = await arms[name]()
            samples.append(Sample.of(workload, name, batch, number, timing))
        return samples

    def _passes(self, batch: int, number: int, forward: Forward) -> list[Sample]:
        """The models' forward passes for as many tokens as the servers generate for each prompt of a batch."""
        self._tell(number, "the models' forward passes", batch, FORWARD)
        seconds = forward(take(self._prompts, batch), self._plan.tokens)
        return [
            Sample.of(FORWARD, arm, batch, number, Timing(batch, batch * self._plan.tokens, spent, spent))
            for arm, spent in zip((EXPERT_FORWARD, AMATEUR_FORWARD), seconds, strict=True)
        ]

    def _tell(self, number: int, name: str, batch: int, workload: str) -> None:
        self._step(f"round {number or 'zero, to warm up'}: {name}, batch {batch}, {workload}")

    def _servers(self, batch: int) -> dict[str, Arm]:
        texts = take(self._prompts, max(FEWEST_BATCHES, -(-FEWEST_REQUESTS // batch)) * batch)

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

    def _both_arriving(self, batch: int, loop: Loop, pace: float) -> dict[str, Arm]:
        sizes = lengths(ARRIVALS * batch, self._plan.tokens, self._rng)
        orders = arriving(self._prompts, sizes, span=sum(sizes) / pace / RUSH, rng=self._rng)

        async def server() -> Timing:
            return await refilled(self._endpoints[PAIR], orders, batch=batch, contrast=self._contrast)

        async def static() -> Timing:
            return static_batches(loop, orders, batch=batch)

        return {PAIR_CONTRAST: server, LOOP: static}
