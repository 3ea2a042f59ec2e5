"""Scorers by name: motet's own and those of whatever else is installed, all registered in the same way.

A distribution registers one in its pyproject.toml:

    [project.entry-points."motet.scorers"]
    NAME = "module:factory"

``factory(argument)`` gives a ``Scorer``; the argument is what stands behind the first colon of ``NAME:...``, None where
there is no colon, and a ValueError's text tells the client what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from motet_decoding.best_of.scorer import Scorer

GROUP = "motet.scorers"

Factory = Callable[[str | None], Scorer]

#: Who registers what is the project's own.
_OWN = "motet"


@cache
def installed() -> Mapping[str, EntryPoint]:
    """What is registered, by name; nobody takes the place of one of motet's own."""
    found = entry_points(group=GROUP)
    return {entry.name: entry for entry in sorted(found, key=_is_own)}


def is_own(name: str) -> bool:
    """Whether it is one of motet's own."""
    return name in installed() and _is_own(installed()[name])


def make(name: str, argument: str | None) -> Scorer:
    """The scorer of a registered name.

    Raises:
        KeyError: there is none of this name.
        ValueError: it doesn't take this argument.
    """
    scorer: Scorer = _factory(name)(argument)
    return scorer


@cache
def _factory(name: str) -> Factory:
    factory: Factory = installed()[name].load()
    return factory


def _is_own(entry: EntryPoint) -> bool:
    return entry.dist is not None and entry.dist.name == _OWN
