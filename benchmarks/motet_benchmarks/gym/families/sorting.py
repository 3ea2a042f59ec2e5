"""Putting short lists in order."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from motet_benchmarks.gym.family import Problem, family
from motet_benchmarks.gym.words import some_words


@family(
    "Sort these numbers.",
    "Put the numbers in order.",
    "List the numbers from small to large.",
    input="{items}",
    terms=("take", "left"),
)
def sort_numbers(rng: random.Random) -> Problem:
    """Sort numbers from small to large."""
    numbers = rng.sample(range(1, 100), rng.choice((3, 4)))
    return _sorted([str(number) for number in numbers], int)


@family(
    "Sort these words.",
    "Put the words in alphabetical order.",
    "List the words by the alphabet.",
    input="{items}",
    terms=("take", "left"),
)
def sort_words(rng: random.Random) -> Problem:
    """Sort words by the alphabet."""
    items = some_words(rng, 3)
    while len({item[0] for item in items}) < 3:
        items = some_words(rng, 3)
    return _sorted(items, str)


def _sorted(items: list[str], value: Callable[[str], Any]) -> Problem:
    right = sorted(items, key=value)
    # Taking the item at an end of the list is the easiest first pick that can be wrong.
    first = items[-1] if items[-1] != right[0] else items[0]
    wrong = [first, *(item for item in right if item != first)]
    return Problem(
        fields={"items": ", ".join(items)},
        answer=", ".join(right),
        mistakes=[("unchanged", ", ".join(items)), ("wrong-first", ", ".join(wrong))],
        steps=_selection(items, right),
        wrong_steps=_selection(items, wrong),
    )


def _selection(items: list[str], order: list[str]) -> list[str]:
    """Selection sort in words, until one item is left."""
    lines = []
    for taken, item in enumerate(order[:-1], start=1):
        left = [other for other in items if other in order[taken:]]
        lines.append(f"take {item}, left {', '.join(left)}")
    return lines


SORTING = (sort_numbers, sort_words)
