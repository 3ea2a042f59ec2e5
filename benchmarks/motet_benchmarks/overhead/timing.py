"""Time a server's answers: requests sent together, or as they come."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from motet_benchmarks.endpoint import Answer, Endpoint, together
from motet_benchmarks.overhead.workload import Order


@dataclass(frozen=True, slots=True)
class Timing:
    """How long a number of requests took."""

    requests: int
    tokens: int
    """Asked for and generated."""
    seconds: float
    """From the first request to the last answer."""
    wait: float
    """Mean seconds from a request's arrival to its whole answer."""

    @classmethod
    def of(cls, seconds: float, tokens: int, waits: Sequence[float]) -> Self:
        """From the waits of every request. Raises ZeroDivisionError without any."""
        return cls(requests=len(waits), tokens=tokens, seconds=seconds, wait=sum(waits) / len(waits))

    @property
    def speed(self) -> float:
        """Tokens per second over all requests."""
        return self.tokens / self.seconds


async def closed(
    endpoint: Endpoint,
    prompts: Sequence[str],
    *,
    batch: int,
    tokens: int,
    contrast: Mapping[str, Any] | None = None,
) -> tuple[Timing, list[str]]:
    """Time `prompts` in batches of `batch`, each sent at once and awaited before the next; and the texts."""
    answers: list[Answer] = []
    start = time.perf_counter()
    for first in range(0, len(prompts), batch):
        answers += await together(
            [
                endpoint.complete(prompt, tokens=tokens, contrast=contrast)
                for prompt in prompts[first : first + batch]
            ]
        )
    seconds = time.perf_counter() - start
    generated = sum(answer.tokens for answer in answers)
    timing = Timing.of(seconds, generated, [answer.seconds for answer in answers])
    return timing, [answer.text for answer in answers]


async def refilled(
    endpoint: Endpoint,
    orders: Sequence[Order],
    *,
    batch: int,
    contrast: Mapping[str, Any] | None = None,
) -> Timing:
    """Time `orders` sent as they arrive, never more than `batch` at once: a place that falls free is filled."""
    places = asyncio.Semaphore(batch)
    start = time.perf_counter()

    async def one(order: Order) -> float:
        await asyncio.sleep(max(0.0, start + order.arrival - time.perf_counter()))
        async with places:
            await endpoint.complete(order.prompt, tokens=order.tokens, contrast=contrast)
        return time.perf_counter() - start - order.arrival

    waits = await together([one(order) for order in orders])
    return Timing.of(time.perf_counter() - start, sum(order.tokens for order in orders), waits)
