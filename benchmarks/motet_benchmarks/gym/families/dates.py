"""Going round the week, the year and the clock."""

from __future__ import annotations

import random
from collections.abc import Sequence

from motet_benchmarks.gym.family import Problem, family
from motet_benchmarks.gym.words import MONTHS, WEEKDAYS


@family(
    "Today is {start}. Which day is it {count} days {direction}?",
    "Which weekday is {count} days {direction} if today is {start}?",
    "It is {start}. Name the day {count} days {direction}.",
    terms=(*WEEKDAYS, "later", "earlier", "round"),
)
def weekday(rng: random.Random) -> Problem:
    """Name the weekday some days later or earlier."""
    return _round_trip(rng, WEEKDAYS, longest=30)


@family(
    "It is {start}. Which month is it {count} months {direction}?",
    "Which month is {count} months {direction} if it is {start}?",
    "This month is {start}. Name the month {count} months {direction}.",
    terms=(*MONTHS, "later", "earlier", "round"),
)
def month(rng: random.Random) -> Problem:
    """Name the month some months later or earlier."""
    return _round_trip(rng, MONTHS, longest=30)


@family(
    "It is {start}. What time is it {count} hours {direction}?",
    "What time is {count} hours {direction} if it is {start}?",
    "The clock says {start}. Give the time {count} hours {direction}.",
    terms=("later", "earlier", "round"),
)
def hour(rng: random.Random) -> Problem:
    """Tell the hour some hours later or earlier."""
    return _round_trip(rng, [f"{number}:00" for number in range(24)], longest=30)


def _round_trip(rng: random.Random, ring: Sequence[str], longest: int) -> Problem:
    """Go a number of places forwards or backwards on a ring; never whole rounds only."""
    size = len(ring)
    start = rng.randrange(size)
    count = rng.choice([number for number in range(2, longest + 1) if number % size])
    direction, sign = rng.choice([("later", 1), ("earlier", -1)])
    rest = count % size
    # A step further than asked, as when the first day is counted too; never back to the start.
    extra = rest + 1 if rest + 1 < size else rest - 1
    return Problem(
        fields={"start": ring[start], "count": count, "direction": direction},
        answer=ring[(start + sign * rest) % size],
        mistakes=[("stayed", ring[start]), ("one-off", ring[(start + sign * extra) % size])],
        steps=_walk(ring, start, sign, count, rest),
        wrong_steps=_walk(ring, start, sign, count, extra),
    )


def _walk(ring: Sequence[str], start: int, sign: int, count: int, rest: int) -> list[str]:
    direction = "later" if sign > 0 else "earlier"
    return [
        f"{count} round {len(ring)} = {rest}",
        f"{ring[start]} {rest} {direction} = {ring[(start + sign * rest) % len(ring)]}",
    ]


DATES = (weekday, month, hour)
