"""Training data: files of many shapes in, checked examples and marked token ids out."""

from __future__ import annotations

from motet_alignment.data.filters import FilterReport, FilterSettings, filter_examples
from motet_alignment.data.items import (
    Comparison,
    Demonstration,
    Examples,
    Item,
    Kind,
    Message,
    Problem,
    Prompt,
    Ranking,
    Rating,
    SourceFile,
)
from motet_alignment.data.phrasing import Phrasings, read_phrasings
from motet_alignment.data.read import read_examples
from motet_alignment.data.render import (
    Rendered,
    render,
    render_comparison,
    render_prompt,
    render_turns,
)
from motet_alignment.data.text import read_text

__all__ = [
    "Comparison",
    "Demonstration",
    "Examples",
    "FilterReport",
    "FilterSettings",
    "Item",
    "Kind",
    "Message",
    "Phrasings",
    "Problem",
    "Prompt",
    "Ranking",
    "Rating",
    "Rendered",
    "SourceFile",
    "filter_examples",
    "read_examples",
    "read_phrasings",
    "read_text",
    "render",
    "render_comparison",
    "render_prompt",
    "render_turns",
]
