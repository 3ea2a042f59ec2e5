"""What comes when: a Poisson process, drawn before anybody is asked, so that every server gets the same."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from motet_benchmarks.load.plan import Turn
from motet_benchmarks.load.prompts import Messages, Prompts


@dataclass(frozen=True, slots=True)
class Order:
    """What one request asks for."""

    number: int
    """Within its turn, from zero."""
    member: int
    """Its place in the mix."""
    messages: Messages
    seed: int
    """The request's own."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """An order and the moment at which it is due, in seconds after the warm-up."""

    due: float
    order: Order


def poisson(begin: float, end: float, seconds: float, rng: random.Random) -> list[float]:
    """The moments, in order, of a Poisson process on [0, seconds) whose rate goes linearly from `begin` to `end`.

    A process of rate one on the area under the rates, put back onto time.
    """
    slope = (end - begin) / seconds
    found: list[float] = []
    area = rng.expovariate(1.0)
    while area < seconds * (begin + end) / 2:
        # begin * t + slope * t^2 / 2 = area, in the form that also holds where the slope is zero.
        found.append(2 * area / (begin + math.sqrt(begin**2 + 2 * slope * area)))
        area += rng.expovariate(1.0)
    return found


def moments(turn: Turn, seed: int) -> list[float]:
    """When the requests of an open turn are due, those of its warm-up before zero.

    Raises ValueError for a closed loop, where that depends on the answers.
    """
    if turn.begin is None or turn.end is None:
        raise ValueError("in a closed loop nothing is due at a time of its own")
    rng = random.Random(f"{seed} {turn.number} moments")
    early = poisson(turn.begin, turn.begin, turn.warm_up, rng) if turn.warm_up else []
    return [
        *(moment - turn.warm_up for moment in early),
        *poisson(turn.begin, turn.end, turn.seconds, rng),
    ]


def later(turn: Turn, seed: int) -> Iterator[float]:
    """When more come at the last rate of an open turn, after its measured part and without end.

    Drawn apart, so that what is measured doesn't depend on how many of these there are. Raises ValueError for a closed
    loop.
    """
    if turn.end is None:
        raise ValueError("in a closed loop nothing is due at a time of its own")
    rng, moment = random.Random(f"{seed} {turn.number} later"), turn.seconds
    while True:
        moment += rng.expovariate(turn.end)
        yield moment


def orders(turn: Turn, shares: Sequence[float], prompts: Prompts, seed: int) -> Iterator[Order]:
    """A turn's orders without end: members drawn by their shares, each order with the next prompt."""
    rng = random.Random(f"{seed} {turn.number} orders")
    for number, messages in enumerate(prompts.of_turn(turn.number, seed)):
        (member,) = rng.choices(range(len(shares)), weights=shares)
        yield Order(number, member, messages, rng.getrandbits(31))


def arrivals(turn: Turn, shares: Sequence[float], prompts: Prompts, seed: int) -> Iterator[Arrival]:
    """Everything that is due in an open turn, drawn beforehand; behind it, without end, what comes later."""
    ordered = orders(turn, shares, prompts, seed)
    due = [Arrival(moment, order) for moment, order in zip(moments(turn, seed), ordered, strict=False)]
    rest = (Arrival(moment, order) for moment, order in zip(later(turn, seed), ordered, strict=False))
    return itertools.chain(due, rest)
