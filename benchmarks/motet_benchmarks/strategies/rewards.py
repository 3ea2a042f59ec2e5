"""A judge's rewards of answers, several in one request."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from motet_benchmarks.endpoint import Endpoint
from motet_benchmarks.errors import BenchmarkError, Refused
from motet_benchmarks.strategies.refusing import UNREADABLE

REWARDS = "/v1/rewards"
#: Conversations of one request.
BATCH = 16

_Conversation = list[Mapping[str, str]]


@dataclass(slots=True, eq=False)
class _Case:
    """A conversation that waits for its reward."""

    conversation: _Conversation
    judged: bool = False
    reward: float | None = None


class Judge:
    """A reward of the endpoint. What is to be judged while a request is under way goes along with the next one."""

    def __init__(self, endpoint: Endpoint, name: str) -> None:
        self._endpoint = endpoint
        self._name = name
        self._waiting: list[_Case] = []
        self._asking = asyncio.Lock()

    async def check(self) -> None:
        """Asks for one reward. Raises BenchmarkError naming --judge where the endpoint has no such one."""
        trial: _Conversation = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
        try:
            await self._rewards([trial])
        except BenchmarkError as error:
            raise BenchmarkError(f"--judge {self._name}: {error}") from None

    async def reward(self, messages: Sequence[Mapping[str, str]], text: str) -> float | None:
        """Of an answer; None where the endpoint refuses this conversation, which may be too long.

        Raises BenchmarkError where it fails.
        """
        case = _Case([*messages, {"role": "assistant", "content": text}])
        self._waiting.append(case)
        async with self._asking:
            # Whoever had the lock before may have taken this one along. Both queues are first come, first served, so
            # that a case that is still there is among the first.
            if not case.judged:
                batch = self._waiting[:BATCH]
                rewards = await self._judged([one.conversation for one in batch])
                for one, reward in zip(batch, rewards, strict=True):
                    one.judged, one.reward = True, reward
                del self._waiting[: len(batch)]
        return case.reward

    async def _judged(self, conversations: list[_Conversation]) -> list[float | None]:
        try:
            return [*await self._rewards(conversations)]
        except Refused as refusal:
            if refusal.status not in UNREADABLE:
                # No longer a Refused: that is what a strategy gets.
                raise BenchmarkError(f"--judge {self._name}: {refusal}") from None
            if len(conversations) == 1:
                return [None]
        return [reward for one in conversations for reward in await self._judged([one])]

    async def _rewards(self, conversations: list[_Conversation]) -> list[float]:
        body = {"model": self._name, "conversations": conversations}
        answer: Any = await self._endpoint.post(REWARDS, body)
        try:
            rewards = [float(each["reward"]) for each in answer["data"]]
        except (KeyError, TypeError, ValueError) as error:
            raise BenchmarkError(f"{REWARDS}: no rewards: {error!r}") from None
        if len(rewards) != len(conversations) or not all(map(math.isfinite, rewards)):
            raise BenchmarkError(f"{REWARDS}: {len(conversations)} rewards were wanted, {rewards} came")
        return rewards
