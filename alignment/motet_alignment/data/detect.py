"""Which shape a row has, by its columns."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from motet_alignment.data.items import Kind
from motet_alignment.data.shapes import Reading, Shape, all_shapes
from motet_alignment.data.values import Malformed, Row


def fitting(row: Collection[str], kind: Kind | None = None) -> tuple[Shape, ...]:
    """The shapes that a row with these columns may have; of two, the one that asks for more columns.

    More than one is an ambiguous row, none an unknown one.
    """
    present = frozenset(row)
    found = [
        (keys, shape)
        for shape in all_shapes()
        if kind is None or shape.kind == kind
        for keys in shape.keys
        if keys <= present
    ]
    best = [shape for keys, shape in found if not any(keys < others for others, _ in found)]
    return tuple(dict.fromkeys(best))


def readable(shapes: tuple[Shape, ...], rows: Sequence[Row]) -> tuple[Shape, ...]:
    """Of shapes with the same columns the one that reads most of `rows`; more where a row may be either.

    A conversation that ends with the user's turn is a prompt, and one that ends with the assistant's is not: a file of
    the one kind with a bad line in it is not taken for the other.
    """
    if len(shapes) == 1:
        return shapes
    read = {shape: {place for place, row in enumerate(rows) if _reads(shape, row)} for shape in shapes}
    most = max(map(len, read.values()))
    best = tuple(shape for shape in shapes if len(read[shape]) == most)
    return best if set.intersection(*(read[shape] for shape in best)) else best[:1]


def _reads(shape: Shape, row: Row) -> bool:
    try:
        return bool(list(shape.read(row, Reading(source=""))))
    except Malformed:
        return False


def wanted(shapes: Iterable[Shape]) -> str:
    """The columns that these shapes ask for, in words."""
    return "; ".join(
        f"{shape.name}: " + " or ".join(", ".join(sorted(keys)) for keys in shape.keys) for shape in shapes
    )


def used(shape: Shape) -> frozenset[str]:
    """Every column that the shape reads."""
    return shape.optional.union(*shape.keys)
