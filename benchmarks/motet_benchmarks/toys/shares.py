"""How much of the pretraining text gets each family wrong.

Where most of the text takes the shortcut, a model that knows both ways still says the wrong one: there contrast has
something to find. Where the shortcut is the rarer way, only a model too small for the right one falls for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

SHARES: Mapping[str, float] = MappingProxyType(
    {
        "addition": 0.28,
        "subtraction": 0.28,
        "product": 0.28,
        "missing-number": 0.28,
        "larger": 0.55,
        "smallest": 0.35,
        "longer-word": 0.42,
        "odd-even": 0.55,
        "sort-numbers": 0.35,
        "sort-words": 0.35,
        "count-words": 0.35,
        "count-letters": 0.35,
        "count-letter": 0.28,
        "backwards": 0.55,
        "nth-letter": 0.35,
        "last-word": 0.55,
        "dashes": 0.55,
        "capitals": 0.42,
        "remove-letter": 0.35,
        "replace-letter": 0.55,
        "double-word": 0.42,
        "swap-words": 0.55,
        "centimetres": 0.35,
        "minutes": 0.28,
        "coins": 0.28,
        "weekday": 0.28,
        "month": 0.28,
        "hour": 0.28,
        "table": 0.35,
        "table-name": 0.55,
        "passage": 0.35,
        "rule-capitals": 0.55,
        "rule-closing": 0.42,
        "rule-backwards": 0.35,
        "rule-code": 0.55,
        "then-add": 0.28,
        "then-longer": 0.42,
        "then-recall": 0.42,
        "then-backwards": 0.55,
        "next-number": 0.28,
        "opposites": 0.35,
    }
)
"""Part of a family's answers that is mistaken."""
