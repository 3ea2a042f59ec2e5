"""Which problems train and which test: decided by the problem alone, so that splits can't overlap."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Literal

from motet_benchmarks.gym.families import FAMILIES
from motet_benchmarks.gym.family import Family
from motet_benchmarks.gym.instance import SHOW_STEPS, Instance

Split = Literal["train", "validation", "test"]

# So many draws from a split without a new problem mean that the family has no more.
PATIENCE = 400


def split_of(instance: Instance) -> Split:
    """The split of a problem, whatever its wording: 80% train, 10% validation, 10% test, by its key.

    A problem with kin is held out only if they all are, and then with the first of them.
    """
    own = (instance.family, instance.key)
    tenths = [_tenth(family, key) for family, key in sorted({own, *instance.kin})]
    return "train" if min(tenths) < 8 else "validation" if tenths[0] == 8 else "test"


def _tenth(family: str, key: str) -> int:
    digest = blake2b(f"{family}\0{key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % 10


def instances(
    split: Split, *, count: int, seed: int, families: Iterable[str] | None = None
) -> list[Instance]:
    """`count` different problems of each family, or as many as it has.

    A family's problems depend on the seed, the split and the family alone. Raises ValueError for an unknown
    family or a negative count.
    """
    if count < 0:
        raise ValueError(f"count must not be negative, got {count}")
    return [instance for family in _chosen(families) for instance in _some(family, split, count, seed)]


def stream(split: Split, *, seed: int, families: Iterable[str] | None = None) -> Iterator[Instance]:
    """Problems without end: every family once in each round, in random order.

    Raises ValueError for an unknown family, or for none at all.
    """
    chosen = _chosen(families)
    if not chosen:
        raise ValueError("families must name at least one family")
    return _rounds(chosen, split, random.Random(f"{seed} {split} stream"))


def vocabulary() -> list[str]:
    """The different words of the wordings and of the closed answers, sorted.

    None of them is ever spelled, reversed or counted by its letters.
    """
    return sorted({*SHOW_STEPS.rstrip(".").split(), "Answer"}.union(*(f.words() for f in FAMILIES.values())))


def _chosen(names: Iterable[str] | None) -> list[Family]:
    names = list(FAMILIES if names is None else names)
    if unknown := [name for name in names if name not in FAMILIES]:
        raise ValueError(f"families: unknown {', '.join(unknown)}; known are {', '.join(FAMILIES)}")
    return [FAMILIES[name] for name in names]


def _some(family: Family, split: Split, count: int, seed: int) -> list[Instance]:
    rng = random.Random(f"{seed} {split} {family.name}")
    found: dict[str, Instance] = {}
    repeats = 0
    while len(found) < count and repeats < PATIENCE:
        instance = _draw(family, split, rng)
        repeats = repeats + 1 if instance.key in found else 0
        found.setdefault(instance.key, instance)
    return list(found.values())


def _rounds(families: list[Family], split: Split, rng: random.Random) -> Iterator[Instance]:
    while True:
        for family in rng.sample(families, len(families)):
            yield _draw(family, split, rng)


def _draw(family: Family, split: Split, rng: random.Random) -> Instance:
    while True:
        instance = family.draw(rng)
        if split_of(instance) == split:
            return instance
