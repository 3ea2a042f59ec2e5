"""Requests sent when they are due, whatever became of those before, or by clients that ask one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from motet_benchmarks.endpoint import together
from motet_benchmarks.errors import BenchmarkError, Refused
from motet_benchmarks.load.arrivals import Arrival, Order
from motet_benchmarks.load.plan import Plan, Turn
from motet_benchmarks.load.records import ANSWERED, Member, Sample
from motet_benchmarks.strategies.cost import cost_of
from motet_benchmarks.strategies.streaming import Said, StreamingEndpoint

#: Kinds of failure beside `status NNN`: too late, and no connection, a broken one or no OpenAI answer.
TIMEOUT, BROKEN = "timeout", "no whole answer"
#: Samples are told to the microsecond.
DIGITS = 6


@dataclass
class Asker:
    """Puts a mix of requests to one server.

    Attributes:
        name: the server's, in samples.
        endpoint: entered already.
        mix: who asks how; an order names its member by its place.
        plan: how much, how long.
        errors: what the first failure of each kind said.
    """

    name: str
    endpoint: StreamingEndpoint
    mix: Sequence[Member]
    plan: Plan
    errors: dict[str, str] = field(default_factory=dict)

    def body(self, order: Order) -> dict[str, Any]:
        """The request of an order."""
        strategy = self.mix[order.member].strategy
        exact = {"ignore_eos": True} if self.plan.exact else {}
        return {
            "model": strategy.model or self.endpoint.model,
            "messages": list(order.messages),
            "max_tokens": self.plan.tokens,
            "seed": order.seed,
            **exact,
            **strategy.body(),
        }

    async def refusal(self, order: Order) -> str | None:
        """Why the server doesn't serve an order's member, which is asked for this once; None where it does.

        A server that answers and leaves the strategy out refuses too. Raises BenchmarkError where it doesn't answer
        within the plan's timeout, or answers with an error of its own.
        """
        strategy = self.mix[order.member].strategy
        try:
            async with asyncio.timeout(self.plan.timeout):
                said = await self.endpoint.say(self.body(order), stream=self.plan.stream)
        except Refused as refusal:
            if refusal.status >= 500:
                raise
            return str(refusal)
        except TimeoutError:
            raise BenchmarkError(
                f"{self.endpoint.url}: {strategy.name}: no answer within --timeout {self.plan.timeout:g} s, "
                "with nothing else to do"
            ) from None
        ignored = [
            name
            for name, asked in (("contrast", strategy.contrast), ("best_of", strategy.best_of))
            if asked and name not in said.motet
        ]
        if ignored:
            return f"{self.endpoint.url}: answers without the {' and '.join(ignored)} that it was asked for"
        return None

    async def open_loop(self, turn: Turn, arrivals: Sequence[Arrival]) -> list[Sample]:
        """Sends each arrival when it is due, and waits for all answers in the end."""
        clock = asyncio.get_running_loop().time
        start = clock() + turn.warm_up
        places = asyncio.Semaphore(self.plan.max_open)
        asked: list[asyncio.Task[Sample]] = []
        try:
            for arrival in arrivals:
                await asyncio.sleep(start + arrival.due - clock())
                job = self._ask(turn, start, arrival.due, arrival.order, places)
                asked.append(asyncio.create_task(job))
            return list(await asyncio.gather(*asked))
        finally:
            await _cancel(asked)

    async def closed_loop(self, turn: Turn, orders: Iterator[Order]) -> list[Sample]:
        """The turn's clients each ask, wait for the answer and ask again, until its time is over.

        Raises ValueError for an open turn.
        """
        if turn.concurrency is None:
            raise ValueError("only a closed loop has clients")
        clock = asyncio.get_running_loop().time
        start = clock() + turn.warm_up
        places = asyncio.Semaphore(turn.concurrency)

        async def client() -> list[Sample]:
            found = []
            while (due := clock() - start) < turn.seconds:
                found.append(await self._ask(turn, start, due, next(orders), places))
                if not found[-1].answered:
                    await asyncio.sleep(0.1)  # a server that refuses at once isn't asked without end
            return found

        clients: list[Coroutine[Any, Any, list[Sample]]] = [client() for _ in range(turn.concurrency)]
        return [sample for found in await together(clients) for sample in found]

    async def _ask(
        self, turn: Turn, start: float, due: float, order: Order, places: asyncio.Semaphore
    ) -> Sample:
        """One request; whatever becomes of it is a sample. `start` is of the loop's clock, `due` counts from it."""
        clock = asyncio.get_running_loop().time
        turned, full = clock(), places.locked()
        sent: float | None = None
        said, outcome, problem = None, ANSWERED, ""
        try:
            async with asyncio.timeout_at(start + due + self.plan.timeout), places:
                sent = clock()
                said = await self.endpoint.say(self.body(order), stream=self.plan.stream)
                tokens, pace = _answer(said)
        except TimeoutError:
            outcome = TIMEOUT
            problem = f"no whole answer within {self.plan.timeout:g} s after it was due"
        except Refused as refusal:
            outcome, problem = f"status {refusal.status}", str(refusal)
        except BenchmarkError as error:
            outcome, problem = BROKEN, str(error)
        now = clock()
        if said is None or outcome != ANSWERED:
            said, tokens, pace = Said(), 0, None
            self.errors.setdefault(outcome, problem)
        return Sample(
            step=turn.step(due),
            turn=turn.number,
            server=self.name,
            member=self.mix[order.member].strategy.name,
            number=order.number,
            due=round(due, DIGITS),
            late=round(max(0.0, turned - start - due), DIGITS),
            held=round((now if sent is None else sent) - turned, DIGITS) if full else 0.0,
            seconds=round(now - start - due, DIGITS),
            first_token=None
            if said.first is None or sent is None
            else round(sent - start - due + said.first, DIGITS),
            per_token=None if pace is None else round(pace, DIGITS),
            prompt_tokens=said.prompt_tokens,
            tokens=tokens,
            outcome=outcome,
        )


def _answer(said: Said) -> tuple[int, float | None]:
    """An answer's tokens, and the seconds for each after the first where those are told.

    Of a best-of answer, whose usage counts all candidates, the tokens are a candidate's on average; it is streamed once
    all are done, so that its pace says nothing. Raises BenchmarkError where `motet` isn't as a motet server says it.
    """
    try:
        tokens = cost_of(said.prompt_tokens, said.completion_tokens, said.motet).answer
    except (KeyError, TypeError, ValueError, AttributeError) as problem:
        raise BenchmarkError(f"the answer's motet field can't be read: {problem!r}") from None
    if said.motet.get("best_of") or said.first is None or said.pieces < 2 or tokens < 2:
        return tokens, None
    # To the stream's end: the last tokens may have no text.
    return tokens, (said.seconds - said.first) / (tokens - 1)


async def _cancel(tasks: Sequence[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
