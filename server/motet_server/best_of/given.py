"""What scorers that aren't motet's give, held against what they must give."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Set
from itertools import islice
from typing import Any

from motet_decoding.best_of.scorer import ScorerError


def numbers(given: Any, count: int) -> list[float]:
    """Exactly ``count`` finite numbers.

    Args:
        given: a list or the like; NumPy's and torch's will do.
        count: of the candidates.

    Raises:
        ScorerError: it is anything else.
    """
    if isinstance(given, (str, bytes, Mapping, Set)) or not isinstance(given, Iterable):
        raise ScorerError(f"must give {count} numbers, one a candidate, and gave {given!r:.60}")
    values = list(islice(given, count + 1))
    if len(values) != count:
        amount = f"only {len(values)}" if len(values) < count else "more"
        raise ScorerError(f"must give {count} numbers, one a candidate, and gave {amount}")
    return [_number(value, place) for place, value in enumerate(values)]


def _number(value: Any, place: int) -> float:
    try:
        number = math.nan if isinstance(value, (str, bytes)) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise ScorerError(f"gave {value!r:.60} as number {place}, which isn't finite or none at all")
    return number
