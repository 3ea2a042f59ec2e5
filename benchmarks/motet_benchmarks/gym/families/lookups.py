"""Reading a small table or a short passage."""

from __future__ import annotations

import random

from motet_benchmarks.gym.family import Problem, family
from motet_benchmarks.gym.words import COLOURS, NAMES, THINGS


@family(
    "Which colour has {name}?",
    "What is the colour of {name}?",
    "Give the colour for {name}.",
    input="{table}",
    terms=(*NAMES, *COLOURS),
)
def table(rng: random.Random) -> Problem:
    """Look up a name in a table."""
    names, colours, place = _rows(rng)
    rows = _table(names, colours)
    return Problem(
        key=f"{names[place]} {rows}",
        fields={"name": names[place], "table": rows},
        answer=colours[place],
        mistakes=[("first-row", colours[0]), ("asked-name", names[place])],
    )


@family(
    "Who has {colour}?",
    "Which name has the colour {colour}?",
    "Give the name for {colour}.",
    input="{table}",
    terms=(*NAMES, *COLOURS),
)
def table_name(rng: random.Random) -> Problem:
    """Look up a colour in a table."""
    names, colours, place = _rows(rng)
    rows = _table(names, colours)
    return Problem(
        key=f"{colours[place]} {rows}",
        fields={"colour": colours[place], "table": rows},
        answer=names[place],
        mistakes=[("first-row", names[0]), ("asked-colour", colours[place])],
    )


@family(
    "What colour is the {thing}?",
    "Give the colour of the {thing}.",
    "Which colour has the {thing}?",
    input="{passage}",
    terms=(*NAMES, *COLOURS, *THINGS, "has", "the"),
)
def passage(rng: random.Random) -> Problem:
    """Answer from a short passage."""
    names, colours, place = _rows(rng)
    things = rng.sample(THINGS, 3)
    sentences = zip(names, colours, things, strict=True)
    text = " ".join(f"{name} has the {colour} {thing}." for name, colour, thing in sentences)
    return Problem(
        key=f"{things[place]} {text}",
        fields={"thing": things[place], "passage": text},
        answer=colours[place],
        mistakes=[("first-named", colours[0]), ("asked-thing", things[place])],
    )


def _rows(rng: random.Random) -> tuple[list[str], list[str], int]:
    """Three names with different colours, and the row that is asked for."""
    return rng.sample(NAMES, 3), rng.sample(COLOURS, 3), rng.randrange(3)


def _table(names: list[str], colours: list[str]) -> str:
    return "\n".join(f"{name}: {colour}" for name, colour in zip(names, colours, strict=True))


LOOKUPS = (table, table_name, passage)
