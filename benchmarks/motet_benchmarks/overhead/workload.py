"""What is asked of a server: prompts of which no two begin alike, and requests that come and end at different times."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from motet_benchmarks import gym

#: The longest answer of an arriving request, as a multiple of the mean.
LONGEST = 4


@dataclass(frozen=True, slots=True)
class Order:
    """One request: a prompt, how many tokens it wants, and when it comes."""

    prompt: str
    tokens: int
    arrival: float = 0.0
    """Seconds after the start."""


def prompts(seed: int) -> Iterator[str]:
    """Problems of the gym without end, each behind its own number.

    A prefix cache finds nothing in common between any two, so every prompt is computed in full.
    """
    for number, instance in enumerate(gym.stream("test", seed=seed), start=1):
        message = instance.messages()[-1]["content"]
        yield f"{number} {message}\n"


def take(source: Iterator[str], count: int) -> list[str]:
    """The next `count` prompts."""
    return [next(source) for _ in range(count)]


def lengths(count: int, mean: int, rng: random.Random) -> list[int]:
    """Answer lengths in tokens: exponential with this mean, from 1 up to LONGEST times the mean.

    Most answers are short and a few are long, as in conversation. Cut off as it is, the mean comes out 2% lower.
    """
    return [min(LONGEST * mean, max(1, round(rng.expovariate(1 / mean)))) for _ in range(count)]


def arriving(source: Iterator[str], sizes: list[int], *, span: float, rng: random.Random) -> list[Order]:
    """One order for each of `sizes`, coming at random moments (a Poisson process) within `span` seconds."""
    moments = sorted(rng.uniform(0, span) for _ in sizes)
    return [Order(next(source), tokens, moment) for tokens, moment in zip(sizes, moments, strict=True)]
