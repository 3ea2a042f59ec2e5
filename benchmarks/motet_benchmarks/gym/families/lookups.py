"""Reading a small table or a short passage."""

from __future__ import annotations

import random

from motet_benchmarks.gym.family import Problem, family
from motet_benchmarks.gym.words import COLOURS, NAMES, THINGS


@family(
    "Look up a name in a table",
    "Which colour has {name}?",
    "What is the colour of {name}?",
    "Give the colour for {name}.",
    input="{table}",
    terms=(*NAMES, *COLOURS),
)
def table(rng: random.Random) -> Problem:
    names, colours, place = _rows(rng)
    rows = "\n".join(f"{name}: {colour}" for name, colour in zip(names, colours, strict=True))
    return Problem(
        key=f"{names[place]} {rows}",
        fields={"name": names[place], "table": rows},
        answer=colours[place],
        mistakes=[("first-row", colours[0]), ("asked-name", names[place])],
    )


@family(
    "Look up a colour in a table",
    "Who has {colour}?",
    "Which name has the colour {colour}?",
    "Give the name for {colour}.",
    input="{table}",
    terms=(*NAMES, *COLOURS),
)
def table_name(rng: random.Random) -> Problem:
    names, colours, place = _rows(rng)
    rows = "\n".join(f"{name}: {colour}" for name, colour in zip(names, colours, strict=True))
    return Problem(
        key=f"{colours[place]} {rows}",
        fields={"colour": colours[place], "table": rows},
        answer=names[place],
        mistakes=[("first-row", names[0]), ("asked-colour", colours[place])],
    )


@family(
    "Answer from a short passage",
    "What colour is the {thing}?",
    "Give the colour of the {thing}.",
    "Which colour has the {thing}?",
    input="{passage}",
    terms=(*NAMES, *COLOURS, *THINGS, "has", "the"),
)
def passage(rng: random.Random) -> Problem:
    names, colours, place = _rows(rng)
    things = rng.sample(THINGS, 3)
    rows = zip(names, colours, things, strict=True)
    text = " ".join(f"{name} has the {colour} {thing}." for name, colour, thing in rows)
    return Problem(
        key=f"{things[place]} {text}",
        fields={"thing": things[place], "passage": text},
        answer=colours[place],
        mistakes=[("first-named", colours[0]), ("asked-thing", things[place])],
    )


def _rows(rng: random.Random) -> tuple[list[str], list[str], int]:
    """Three names with different colours, and the row that is asked for."""
    return rng.sample(NAMES, 3), rng.sample(COLOURS, 3), rng.randrange(3)


LOOKUPS = (table, table_name, passage)
