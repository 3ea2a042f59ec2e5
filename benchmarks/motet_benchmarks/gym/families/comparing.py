"""Which of these: larger, smallest, longer, odd or even."""

from __future__ import annotations

import random

from motet_benchmarks.gym.family import Problem, family
from motet_benchmarks.gym.words import two_of_different_length


@family(
    "Which is larger, {a} or {b}?",
    "Give the larger number: {a} or {b}.",
    "Choose the larger of {a} and {b}.",
)
def larger(rng: random.Random) -> Problem:
    """Say which of two numbers is larger."""
    a, b = rng.sample(range(1, 100), 2)
    return Problem(
        fields={"a": a, "b": b},
        answer=max(a, b),
        mistakes=[("repeated-both", f"{a} and {b}")],
        kin=[("larger", f"{b} {a}")],
    )


@family(
    "Which is the smallest?",
    "Find the smallest number.",
    "Give the smallest of these numbers.",
    input="{numbers}",
)
def smallest(rng: random.Random) -> Problem:
    """Find the smallest of three numbers."""
    numbers = rng.sample(range(1, 100), 3)
    listed = ", ".join(map(str, numbers))
    return Problem(
        fields={"numbers": listed},
        answer=min(numbers),
        mistakes=[("first-listed", numbers[0]), ("repeated-all", listed)],
    )


@family(
    "Which word is longer, {a} or {b}?",
    "Give the longer word: {a} or {b}.",
    "Choose the longer of the words {a} and {b}.",
)
def longer_word(rng: random.Random) -> Problem:
    """Say which of two words is longer."""
    a, b = two_of_different_length(rng)
    return Problem(
        fields={"a": a, "b": b},
        answer=max(a, b, key=len),
        mistakes=[("repeated-both", f"{a} and {b}")],
        kin=[("longer-word", f"{b} {a}")],
    )


@family(
    "Is {n} odd or even?",
    "Odd or even: {n}?",
    "Say if {n} is an odd or an even number.",
)
def odd_even(rng: random.Random) -> Problem:
    """Say whether a number is odd or even."""
    n = rng.randint(1, 1499)
    return Problem(fields={"n": n}, answer="odd" if n % 2 else "even", mistakes=[("repeated-number", n)])


COMPARING = (larger, smallest, longer_word, odd_even)
