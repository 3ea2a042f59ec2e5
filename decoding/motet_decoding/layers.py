"""Which of a model's layers are asked when a contrast says no more than ``low`` or ``high``."""

from __future__ import annotations

from typing import Literal

#: Why no layer is heard where nobody asked for one.
NOT_ASKED = "it was started without any"

#: Of a model with more layers than this no half is asked, but as many as half of it from either end.
_MANY = 40


def layer_candidates(which: Literal["low", "high"], layers: int, tied: bool) -> tuple[int, ...]:
    """Every second layer of a half, as DoLa asks them (arXiv 2309.03883); a token's is the one that differs most.

    Args:
        which: the lower or the upper half; of a model with more than 40 layers, the first or the last 20.
        layers: how many the model has, at least 1.
        tied: whether its head is its embedding: the embedding then says the token just read, and layer 0 nothing
            more, so that the first one asked is layer 2, or the last but one of a model that hasn't as many.

    Returns:
        Layers passed, from 0 (the embedding) to ``layers - 1``, rising; at least one.
    """
    deep, half = layers > _MANY, min(layers, _MANY) // 2
    if which == "high":
        return tuple(range(layers - half if deep else half, layers, 2))
    first = min(2, layers - 1) if tied else 0
    return tuple(range(first, half, 2)) or (first,)
