"""Training data: files of many shapes in, checked examples and marked token ids out."""

from __future__ import annotations

from motet_alignment.data.items import (
    Comparison,
    Demonstration,
    Examples,
    Item,
    Kind,
    Message,
    Problem,
    Ranking,
    Rating,
    SourceFile,
)
from motet_alignment.data.read import read_examples
from motet_alignment.data.render import Rendered, render, render_comparison, render_turns

__all__ = [
    "Comparison",
    "Demonstration",
    "Examples",
    "Item",
    "Kind",
    "Message",
    "Problem",
    "Ranking",
    "Rating",
    "Rendered",
    "SourceFile",
    "read_examples",
    "render",
    "render_comparison",
    "render_turns",
]
