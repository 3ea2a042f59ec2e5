"""The recipe of the bundled models: their text, their training, and what they can do.

Importing this package loads no model library; its modules do.
"""

from __future__ import annotations

from motet_benchmarks.toys.settings import Corpus, Recipe, Size, Training

__all__ = ["Corpus", "Recipe", "Size", "Training"]
