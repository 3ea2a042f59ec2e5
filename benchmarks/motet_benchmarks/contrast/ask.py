"""Put the gym's problems to a chat endpoint, many at once, and grade what it says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from motet_benchmarks import gym
from motet_benchmarks.endpoint import Endpoint, together


@dataclass(frozen=True, slots=True)
class Reply:
    """What a strategy said to one problem, and whether it is right."""

    text: str
    right: bool
    tokens: int
    contrast: Mapping[str, Any] | None
    """What the server says it applied."""


async def ask(
    endpoint: Endpoint,
    instances: Sequence[gym.Instance],
    *,
    contrast: Mapping[str, Any] | bool | None,
    concurrency: int,
    tokens: int,
    done: Callable[[], None] = lambda: None,
) -> list[Reply]:
    """The greedy replies to `instances`, in their order.

    Args:
        endpoint: entered.
        instances: the problems.
        contrast: the request's field; None asks plainly.
        concurrency: the most requests at once.
        tokens: the longest reply.
        done: called after each reply.

    Raises BenchmarkError where the endpoint doesn't answer as it should.
    """
    places = asyncio.Semaphore(concurrency)

    async def one(instance: gym.Instance) -> Reply:
        async with places:
            answer = await endpoint.chat(instance.messages(), tokens=tokens, contrast=contrast)
        done()
        return Reply(answer.text, instance.grade(answer.text), answer.tokens, answer.contrast)

    return await together([one(instance) for instance in instances])
