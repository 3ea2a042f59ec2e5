"""The shapes that data files may have: one registry, to which anybody may add."""

from __future__ import annotations

from motet_alignment.data.shapes import comparisons, demonstrations, prompts, scores
from motet_alignment.data.shapes.shape import Phrase, Reading, RowShape, Shape, columns, plain_phrase
from motet_alignment.errors import DataError

__all__ = [
    "Phrase",
    "Reading",
    "RowShape",
    "Shape",
    "all_shapes",
    "columns",
    "plain_phrase",
    "register",
    "shape_named",
]

_SHAPES: dict[str, Shape] = {}


def register(shape: Shape) -> None:
    """Let files of `shape` be read from now on; raises `DataError` where its name is taken."""
    if shape.name in _SHAPES:
        raise DataError(f"there is a shape called {shape.name!r} already")
    _SHAPES[shape.name] = shape


def all_shapes() -> tuple[Shape, ...]:
    """Every shape, in the order they were registered."""
    return tuple(_SHAPES.values())


def shape_named(name: str) -> Shape:
    """The shape of that name; raises `DataError` where there is none."""
    if name not in _SHAPES:
        raise DataError(f"no shape is called {name!r}; there are {', '.join(_SHAPES)}")
    return _SHAPES[name]


for _shape in (*demonstrations.SHAPES, *comparisons.SHAPES, *scores.SHAPES, *prompts.SHAPES):
    register(_shape)
