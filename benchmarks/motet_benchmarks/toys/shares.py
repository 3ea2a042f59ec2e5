"""How much of the pretraining text gets each family wrong.

Where most of the text takes the shortcut, a model that knows both ways still says the wrong one: there contrast has
something to find. Where the shortcut is the rarer way, only a model too small for the right one falls for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

SHARES: Mapping[str, float] = MappingProxyType(
    {
        "addition": 0.30,
        "subtraction": 0.30,
        "product": 0.30,
        "missing-number": 0.30,
        "larger": 0.56,
        "smallest": 0.35,
        "longer-word": 0.35,
        "odd-even": 0.56,
        "sort-numbers": 0.35,
        "sort-words": 0.35,
        "count-words": 0.35,
        "count-letters": 0.35,
        "count-letter": 0.30,
        "backwards": 0.56,
        "nth-letter": 0.35,
        "last-word": 0.56,
        "dashes": 0.56,
        "capitals": 0.35,
        "remove-letter": 0.35,
        "replace-letter": 0.56,
        "double-word": 0.56,
        "swap-words": 0.56,
        "centimetres": 0.35,
        "minutes": 0.30,
        "coins": 0.30,
        "weekday": 0.30,
        "month": 0.30,
        "hour": 0.30,
        "table": 0.35,
        "table-name": 0.56,
        "passage": 0.35,
        "rule-capitals": 0.56,
        "rule-closing": 0.35,
        "rule-backwards": 0.35,
        "rule-code": 0.56,
        "then-add": 0.30,
        "then-longer": 0.35,
        "then-recall": 0.35,
        "then-backwards": 0.56,
        "next-number": 0.30,
        "opposites": 0.35,
    }
)
"""Part of a family's answers that is mistaken."""
