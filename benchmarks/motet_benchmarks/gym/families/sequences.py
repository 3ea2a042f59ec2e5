"""Going on with a row of numbers, and opposites."""

from __future__ import annotations

import random

from motet_benchmarks.gym.family import Problem, family
from motet_benchmarks.gym.words import OPPOSITES

OPPOSITE_OF = {**dict(OPPOSITES), **{b: a for a, b in OPPOSITES}}


@family(
    "What comes next?",
    "Give the next number.",
    "Go on with one more number.",
    input="{terms}",
)
def next_number(rng: random.Random) -> Problem:
    """Give the next number of a sequence."""
    start, step = rng.randint(1, 80), rng.choice([-5, -4, -3, -2, -1, *range(1, 13)])
    if step < 0:
        start += 20
    a, b, c = start, start + step, start + 2 * step
    return Problem(
        fields={"terms": f"{a}, {b}, {c}"},
        answer=c + step,
        mistakes=[("repeated-last", c), ("one-too-many", c + step + 1)],
        steps=[f"{b} - {a} = {step}", f"{c} + {step} = {c + step}"],
        wrong_steps=[f"{b} - {a} = {step + 1}", f"{c} + {step + 1} = {c + step + 1}"],
    )


@family(
    "What are the opposites of {a} and {b}?",
    "Give the opposites: {a}, {b}",
    "Write the opposites of {a} and {b}.",
    terms=tuple(OPPOSITE_OF),
)
def opposites(rng: random.Random) -> Problem:
    """Give the opposites of two words."""
    a, b = rng.sample(sorted(OPPOSITE_OF), 2)
    return Problem(
        fields={"a": a, "b": b},
        answer=f"{OPPOSITE_OF[a]}, {OPPOSITE_OF[b]}",
        mistakes=[("repeated-words", f"{a}, {b}"), ("half-done", f"{OPPOSITE_OF[a]}, {b}")],
        kin=[("opposites", f"{b} {a}")],
    )


SEQUENCES = (next_number, opposites)
