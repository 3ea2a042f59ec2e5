"""What a shape of data is, and the reading of one row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from motet_alignment.data.items import Item, Kind
from motet_alignment.data.values import Row

Phrase = Callable[[str, str], str]


def plain_phrase(instruction: str, given: str) -> str:
    """The instruction, and what it is about below it."""
    return f"{instruction}\n\n{given}" if given else instruction


@dataclass(frozen=True)
class Reading:
    """What a shape is told about the row that it reads, and where it notes what it left aside."""

    source: str
    #: How an instruction and its input become one prompt.
    phrase: Phrase = plain_phrase
    #: Keys below the row's own that the shape has no use for, counted.
    unused: Counter[str] = field(default_factory=Counter)


class Shape(Protocol):
    """A way to write examples down. `register` adds one."""

    @property
    def name(self) -> str:
        """What `--shape` calls it."""
        ...

    @property
    def kind(self) -> Kind:
        """What its rows become."""
        ...

    @property
    def keys(self) -> tuple[frozenset[str], ...]:
        """Sets of columns; a row that has all of one set is taken for this shape."""
        ...

    @property
    def optional(self) -> frozenset[str]:
        """Columns it reads where they are there."""
        ...

    def read(self, row: Row, reading: Reading) -> Iterable[Item]:
        """The row's examples; raises `values.Malformed` for a row that can't be used."""
        ...


@dataclass(frozen=True)
class RowShape:
    """A shape made of one function."""

    name: str
    kind: Kind
    keys: tuple[frozenset[str], ...]
    reader: Callable[[Row, Reading], Iterable[Item]]
    optional: frozenset[str] = frozenset()

    def read(self, row: Row, reading: Reading) -> Iterable[Item]:
        """The row's examples."""
        return self.reader(row, reading)


def columns(*sets: str) -> tuple[frozenset[str], ...]:
    """Each text's words as one set of columns."""
    return tuple(frozenset(names.split()) for names in sets)
