"""Sums with units: lengths, times and coins."""

from __future__ import annotations

import random

from motet_benchmarks.gym.family import Problem, family


@family(
    "How many cm are {metres} m {centimetres} cm?",
    "Give {metres} m {centimetres} cm in cm.",
    "Turn {metres} m and {centimetres} cm into cm.",
)
def centimetres(rng: random.Random) -> Problem:
    """Turn metres and centimetres into centimetres."""
    metres, rest = rng.randint(1, 12), rng.randint(1, 99)
    return Problem(
        fields={"metres": metres, "centimetres": rest},
        answer=metres * 100 + rest,
        mistakes=[("copied-rest", rest), ("ten-to-a-metre", metres * 10 + rest)],
        steps=[f"{metres} * 100 = {metres * 100}", f"{metres * 100} + {rest} = {metres * 100 + rest}"],
        wrong_steps=[f"{metres} * 100 = {metres * 10}", f"{metres * 10} + {rest} = {metres * 10 + rest}"],
    )


@family(
    "How many {small} are {big_count} {big} and {small_count} {small}?",
    "Give {big_count} {big} and {small_count} {small} in {small}.",
    "Turn {big_count} {big} and {small_count} {small} into {small}.",
    terms=("hours", "minutes", "seconds"),
)
def minutes(rng: random.Random) -> Problem:
    """Turn hours into minutes, or minutes into seconds."""
    big, small = rng.choice([("hours", "minutes"), ("minutes", "seconds")])
    count, rest = rng.randint(1, 9), rng.randint(0, 59)
    return Problem(
        fields={"big_count": count, "big": big, "small_count": rest, "small": small},
        answer=count * 60 + rest,
        mistakes=[("copied-rest", rest), ("hundred-to-one", count * 100 + rest)],
        steps=[f"{count} * 60 = {count * 60}", f"{count * 60} + {rest} = {count * 60 + rest}"],
        wrong_steps=[f"{count} * 60 = {count * 100}", f"{count * 100} + {rest} = {count * 100 + rest}"],
    )


@family(
    "How many cents are {a} coins of {x} and {b} coins of {y}?",
    "Add up {a} coins of {x} cents and {b} coins of {y} cents.",
    "I have {a} coins of {x} and {b} coins of {y}. How many cents?",
)
def coins(rng: random.Random) -> Problem:
    """Add up coins."""
    # The smaller coins first: the other order would be the same problem again.
    x, y = sorted(rng.sample((1, 2, 5, 10, 20), 2))
    a, b = rng.randint(2, 9), rng.randint(2, 9)
    parts, total = [f"{a} * {x} = {a * x}", f"{b} * {y} = {b * y}"], a * x + b * y
    return Problem(
        fields={"a": a, "x": x, "b": b, "y": y},
        answer=total,
        mistakes=[("copied-first", a), ("only-first", a * x)],
        steps=[*parts, f"{a * x} + {b * y} = {total}"],
        wrong_steps=[*parts, f"{a * x} + {b * y} = {a * x}"],
        wrong_at=2,
    )


UNITS = (centimetres, minutes, coins)
