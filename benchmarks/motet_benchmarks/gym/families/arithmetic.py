"""Sums, differences and products of small numbers."""

from __future__ import annotations

import random

from motet_benchmarks.gym.family import Problem, family

#: What a sum that goes on in a second turn is made of.
LARGEST_FIRST_TERM = 50
NEXT_TERMS = range(2, 21)


@family(
    "What is {a} + {b}?",
    "Add {a} and {b}.",
    "Give the sum of {a} and {b}.",
    terms=("carry",),
)
def addition(rng: random.Random) -> Problem:
    """Add two numbers."""
    a, b = rng.randint(2, 99), rng.randint(2, 99)
    ones, tens = a % 10 + b % 10, a // 10 + b // 10
    start = [f"{a % 10} + {b % 10} = {ones}", f"{a // 10} + {b // 10} = {tens}"]
    if ones < 10:
        # Without a carry to forget, the slip is in the ones, and must not bring a carry either.
        off = 1 if ones < 9 else -1
        kind, slip, wrong_at = "miscounted", a + b + off, 0
        wrong_start = [f"{a % 10} + {b % 10} = {ones + off}", start[1]]
    else:
        kind, slip, wrong_at = "forgotten-carry", a + b - 10, 2
        wrong_start = start
    # A conversation that begins with this very sum tells its answer.
    told = (
        [("then-add", f"{a} {b} {c} {a + b}") for c in NEXT_TERMS] if max(a, b) <= LARGEST_FIRST_TERM else []
    )
    return Problem(
        fields={"a": a, "b": b},
        answer=a + b,
        mistakes=[("copied-operand", a), (kind, slip)],
        kin=[("addition", f"{b} {a}"), *told],
        steps=[*start, *_carried(tens, ones // 10, a + b)],
        wrong_steps=[*wrong_start, *_carried(tens, 0, slip)],
        wrong_at=wrong_at,
    )


def _carried(tens: int, carry: int, total: int) -> list[str]:
    return [f"{tens} + {carry} carry = {tens + carry}", f"{tens + carry} * 10 + {total % 10} = {total}"]


@family(
    "What is {a} - {b}?",
    "Subtract {b} from {a}.",
    "Take {b} away from {a}.",
)
def subtraction(rng: random.Random) -> Problem:
    """Take one number from another."""
    b, a = sorted(rng.sample(range(1, 100), 2))
    tens, ones = b // 10 * 10, b % 10
    left = a - tens
    return Problem(
        fields={"a": a, "b": b},
        answer=a - b,
        mistakes=[("copied-operand", a), ("kept-a-ten", a - b + 10)],
        steps=[f"{a} - {tens} = {left}", f"{left} - {ones} = {a - b}"],
        wrong_steps=[f"{a} - {tens} = {left + 10}", f"{left + 10} - {ones} = {a - b + 10}"],
    )


@family(
    "What is {a} * {b}?",
    "Multiply {a} by {b}.",
    "Give the product of {a} and {b}.",
)
def product(rng: random.Random) -> Problem:
    """Multiply two numbers."""
    small, large = sorted((rng.randint(2, 9), rng.randint(2, 119)))
    a, b = rng.choice([(small, large), (large, small)])
    tens, ones = large // 10 * 10, large % 10
    slip = small * large + small
    steps, wrong_steps = [f"{small} * {large} = {a * b}"], [f"{small} * {large} = {slip}"]
    if tens:
        start = f"{small} * {tens} = {small * tens}"
        steps = [start, *_last_product(small, ones, small * ones, small * tens)]
        wrong_steps = [start, *_last_product(small, ones, small * ones + small, small * tens)]
    return Problem(
        # The order belongs to the wording, so that both orders stand in one split.
        key=f"{small} {large}",
        fields={"a": a, "b": b},
        answer=a * b,
        mistakes=[("copied-operand", large), ("added", a + b), ("once-too-often", slip)],
        kin=[("product", key) for key in _worked_with(small, large)],
        steps=steps,
        wrong_steps=wrong_steps,
        wrong_at=1 if tens else 0,
    )


def _worked_with(small: int, large: int) -> list[str]:
    """The products that have small * large among their worked steps."""
    if large < 10:
        tens = range(10, 120, 10)
        return [f"{a} {ten + b}" for a, b in ((small, large), (large, small)) for ten in tens]
    return [f"{small} {large + ones}" for ones in range(1, 10)] if large % 10 == 0 else []


def _last_product(small: int, ones: int, part: int, rest: int) -> list[str]:
    return [f"{small} * {ones} = {part}", f"{rest} + {part} = {rest + part}"]


@family(
    "Find the missing number: {a} + ? = {total}",
    "Which number is missing in {a} + ? = {total}?",
    "What must be added to {a} to get {total}?",
)
def missing_number(rng: random.Random) -> Problem:
    """Find the missing number of a sum."""
    a, b = rng.randint(1, 60), rng.randint(1, 40)
    return Problem(
        fields={"a": a, "total": a + b},
        answer=b,
        mistakes=[("copied-total", a + b), ("added", a + a + b)],
        steps=[f"? = {a + b} - {a}", f"? = {b}"],
        wrong_steps=[f"? = {a + b} + {a}", f"? = {a + a + b}"],
    )


ARITHMETIC = (addition, subtraction, product, missing_number)
