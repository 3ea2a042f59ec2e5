"""Which shape a row has, by its columns."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from motet_alignment.data.items import Kind
from motet_alignment.data.shapes import Shape, all_shapes


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


def wanted(shapes: Iterable[Shape]) -> str:
    """The columns that these shapes ask for, in words."""
    return "; ".join(
        f"{shape.name}: " + " or ".join(", ".join(sorted(keys)) for keys in shape.keys) for shape in shapes
    )


def used(shape: Shape) -> frozenset[str]:
    """Every column that the shape reads."""
    return shape.optional.union(*shape.keys)
