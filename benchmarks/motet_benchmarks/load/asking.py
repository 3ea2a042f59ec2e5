"""One request under load; whatever becomes of it is a sample."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from motet_benchmarks.errors import BenchmarkError, Refused
from motet_benchmarks.load.arrivals import Order
from motet_benchmarks.load.plan import Plan, Turn
from motet_benchmarks.load.records import Member
from motet_benchmarks.load.samples import ANSWERED, BROKEN, TIMEOUT, Sample
from motet_benchmarks.strategies.asking import check_applied
from motet_benchmarks.strategies.cost import cost_of
from motet_benchmarks.strategies.refusing import refuses
from motet_benchmarks.strategies.streaming import MALFORMED, Said, StreamingEndpoint, pace

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
        samples: of every request that was settled, in that order.
        errors: what the first failure of each kind said.
    """

    name: str
    endpoint: StreamingEndpoint
    mix: Sequence[Member]
    plan: Plan
    samples: list[Sample] = field(default_factory=list)
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
        within the plan's timeout, or answers with an error that isn't about the request.
        """
        strategy = self.mix[order.member].strategy
        try:
            async with asyncio.timeout(self.plan.timeout):
                said = await self.endpoint.say(self.body(order), stream=self.plan.stream)
            check_applied(strategy, said)
        except TimeoutError:
            raise BenchmarkError(
                f"{self.endpoint.url}: {strategy.name}: no answer within --timeout {self.plan.timeout:g} s, "
                "with nothing else to do"
            ) from None
        except BenchmarkError as refusal:
            if not refuses(refusal):
                raise
            return str(refusal)
        return None

    async def ask(
        self, turn: Turn, start: float, due: float, order: Order, places: asyncio.Semaphore
    ) -> Sample:
        """Puts an order, once there is a place. `start` is of the loop's clock, `due` counts from it."""
        clock = asyncio.get_running_loop().time
        turned, full = clock(), places.locked()
        sent: float | None = None
        said, outcome, problem = None, ANSWERED, ""
        try:
            async with asyncio.timeout_at(start + due + self.plan.timeout), places:
                sent = clock()
                said = await self.endpoint.say(self.body(order), stream=self.plan.stream)
                tokens, per_token = _answer(said)
        except TimeoutError:
            outcome = TIMEOUT
            problem = f"no whole answer within {self.plan.timeout:g} s after it was due"
        except Refused as refusal:
            outcome, problem = f"status {refusal.status}", str(refusal)
        except BenchmarkError as error:
            outcome, problem = BROKEN, str(error)
        now = clock()
        first: float | None = None
        at_once = False
        if said is None or sent is None or outcome != ANSWERED:
            said, tokens, per_token = Said(), 0, None
            self.errors.setdefault(outcome, problem)
        elif self.plan.stream:
            # Whoever asked for a stream and got all at once has waited for the first token as long as for the last.
            at_once = said.first is None
            first = sent - start - due + (said.seconds if said.first is None else said.first)
        sample = Sample(
            step=turn.step(due),
            turn=turn.number,
            server=self.name,
            member=self.mix[order.member].strategy.name,
            number=order.number,
            due=round(due, DIGITS),
            late=round(max(0.0, turned - start - due), DIGITS),
            held=round((now if sent is None else sent) - turned, DIGITS) if full else 0.0,
            seconds=round(now - start - due, DIGITS),
            first_token=None if first is None else round(first, DIGITS),
            per_token=None if per_token is None else round(per_token, DIGITS),
            prompt_tokens=said.prompt_tokens,
            tokens=tokens,
            outcome=outcome,
            at_once=at_once,
            counted=said.counted,
        )
        self.samples.append(sample)
        return sample


def _answer(said: Said) -> tuple[int, float | None]:
    """An answer's tokens, and the seconds for each after the first where those are told.

    Of a best-of answer, whose usage counts all candidates, the tokens are a candidate's on average. Raises
    BenchmarkError where `motet` isn't as a motet server says it.
    """
    try:
        tokens = cost_of(said.prompt_tokens, said.completion_tokens, said.motet).answer
    except MALFORMED as problem:
        raise BenchmarkError(f"the answer's motet field can't be read: {problem!r}") from None
    return tokens, pace(said, tokens, at_once=bool(said.motet.get("best_of")))
