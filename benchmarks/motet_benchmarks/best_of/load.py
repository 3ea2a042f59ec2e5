"""Plain requests beside many best-of requests and ones with contrast: how long they take, and whether any is lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count

from motet_benchmarks.best_of.candidates import DRAWN, said
from motet_benchmarks.best_of.plan import REWARD, Plan
from motet_benchmarks.best_of.speed import prompts
from motet_benchmarks.endpoint import CHAT, Endpoint, together
from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.statistics import Interval, percentiles

#: The kinds of requests, and how many clients ask plainly and with contrast all the time.
PLAIN, CONTRAST, BEST_OF = "plain", "contrast", "best_of"
CLIENTS = {PLAIN: 4, CONTRAST: 4}


@dataclass(frozen=True, slots=True)
class Reply:
    """One request of a phase."""

    kind: str
    round: int
    beside: bool
    """Whether best-of requests ran beside it."""
    seconds: float
    problem: str | None
    """Why it has no whole answer."""


@dataclass(frozen=True, slots=True)
class Latency:
    """A percentile of the plain requests' seconds, without and with best-of requests beside."""

    percent: int
    without: Interval
    beside: Interval
    ratio: Interval


@dataclass(frozen=True, slots=True)
class Loaded:
    """What came of the load."""

    requests: dict[str, int]
    lost: tuple[str, ...]
    """What each request without a whole answer was told."""
    latencies: tuple[Latency, ...]

    @property
    def verdict(self) -> str:
        """None may be lost."""
        return "missed" if self.lost else "met"


def loaded(replies: Sequence[Reply], *, seed: int = 0) -> Loaded:
    """The figures. Raises ValueError without plain requests in both phases of a round."""
    rounds = []
    for number in dict.fromkeys(reply.round for reply in replies):
        without, beside = (
            [
                reply.seconds
                for reply in replies
                if (reply.kind, reply.round, reply.beside) == (PLAIN, number, arm) and reply.problem is None
            ]
            for arm in (False, True)
        )
        if without and beside:
            rounds.append((without, beside))
    if not rounds:
        raise ValueError("no plain request has been answered in both phases of a round")
    return Loaded(
        {kind: sum(reply.kind == kind for reply in replies) for kind in (PLAIN, CONTRAST, BEST_OF)},
        tuple(reply.problem for reply in replies if reply.problem is not None),
        tuple(Latency(percent, *percentiles(rounds, percent, seed=seed)) for percent in (50, 99)),
    )


class Load:
    """Asks in phases with and without best-of requests."""

    def __init__(self, plan: Plan, endpoint: Endpoint, step: Callable[[str], None], base: str) -> None:
        """`base` is the model that knows contrast, without an adapter."""
        self._plan, self._endpoint, self._step, self._base = plan, endpoint, step, base
        self._prompts: Iterator[list[dict[str, str]]] = prompts(plan.seed + 1)
        self._seeds = count(2_000_000_000 * (plan.seed + 1))

    async def measure(self) -> list[Reply]:
        """All requests of all phases; the first round warms up and doesn't count."""
        replies: list[Reply] = []
        for number in range(self._plan.phases + 1):
            for beside in (False, True) if number % 2 else (True, False):
                self._step(f"round {number or 'zero, to warm up'}: {'with' if beside else 'without'} best-of")
                found = await self._phase(number, beside)
                replies += found if number else []
        return replies

    async def _phase(self, number: int, beside: bool) -> list[Reply]:
        end = time.perf_counter() + self._plan.seconds
        clients = {**CLIENTS, **({BEST_OF: self._plan.load} if beside else {})}
        asking = [
            self._client(kind, number, beside, end) for kind, many in clients.items() for _ in range(many)
        ]
        return [reply for replies in await together(asking) for reply in replies]

    async def _client(self, kind: str, number: int, beside: bool, end: float) -> list[Reply]:
        """Asks one after the other until the phase ends; what has begun is awaited."""
        replies = []
        ways: dict[str, Callable[[], Awaitable[None]]] = {
            PLAIN: self._plain,
            CONTRAST: self._contrast,
            BEST_OF: self._best_of,
        }
        while (begun := time.perf_counter()) < end:
            try:
                await ways[kind]()
                problem = None
            except BenchmarkError as error:
                problem = str(error)
                await asyncio.sleep(0.1)  # a server that refuses at once isn't asked without end
            replies.append(Reply(kind, number, beside, time.perf_counter() - begun, problem))
        return replies

    async def _plain(self) -> None:
        said(await self._endpoint.post(CHAT, {**self._body(), "temperature": 0}))

    async def _contrast(self) -> None:
        answer = await self._endpoint.post(
            CHAT, {**self._body(), "model": self._base, "temperature": 0, "contrast": True}
        )
        if not (answer.get("motet") or {}).get("contrast"):
            raise BenchmarkError(f"{CHAT}: answered without the contrast that it was asked for")

    async def _best_of(self) -> None:
        asked = {"n": self._plan.candidates, "by": self._plan.judge(REWARD)}
        answer = await self._endpoint.post(
            CHAT, {**self._body(), **DRAWN, "seed": next(self._seeds), "best_of": asked}
        )
        said(answer)
        if len(((answer.get("motet") or {}).get("best_of") or {}).get("scores", ())) != self._plan.candidates:
            raise BenchmarkError(f"{CHAT}: answered without the scores of all candidates")

    def _body(self) -> dict[str, object]:
        return {
            "model": self._plan.policy,
            "messages": next(self._prompts),
            "max_tokens": self._plan.tokens,
        }
