"""Putting short lists in order."""

from __future__ import annotations

import random
from typing import TypeVar

from motet_benchmarks.gym.family import Problem, family
from motet_benchmarks.gym.words import some_words

Item = TypeVar("Item", int, str)


@family(
    "Sort numbers from small to large",
    "Sort these numbers.",
    "Put the numbers in order.",
    "List the numbers from small to large.",
    input="{items}",
    terms=("take", "left"),
)
def sort_numbers(rng: random.Random) -> Problem:
    return _sorted(rng.sample(range(1, 100), rng.choice((3, 4))))


@family(
    "Sort words by the alphabet",
    "Sort these words.",
    "Put the words in alphabetical order.",
    "List the words by the alphabet.",
    input="{items}",
    terms=("take", "left"),
)
def sort_words(rng: random.Random) -> Problem:
    items = some_words(rng, 3)
    while len({item[0] for item in items}) < 3:
        items = some_words(rng, 3)
    return _sorted(items)


def _sorted(items: list[Item]) -> Problem:
    right = sorted(items)
    # The wrong way takes the last item first and sorts the rest.
    first = items[-1] if items[-1] != right[0] else items[0]
    if first == right[0]:
        first = right[-1]
    wrong = [first, *(item for item in right if item != first)]
    return Problem(
        fields={"items": _listed(items)},
        answer=_listed(right),
        mistakes=[("unchanged", _listed(items)), ("wrong-first", _listed(wrong))],
        steps=_selection(items, right),
        wrong_steps=_selection(items, wrong),
    )


def _selection(items: list[Item], order: list[Item]) -> list[str]:
    """Selection sort in words, until one item is left."""
    lines = []
    for taken, item in enumerate(order[:-1], start=1):
        left = [other for other in items if other in order[taken:]]
        lines.append(f"take {item}, left {_listed(left)}")
    return lines


def _listed(items: list[Item]) -> str:
    return ", ".join(map(str, items))


SORTING = (sort_numbers, sort_words)
