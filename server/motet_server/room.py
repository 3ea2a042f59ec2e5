"""What the engine has room for, as far as one request is concerned."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Room:
    """What the engine has.

    Attributes:
        context: the most tokens that a sequence may have.
        sequences: how many may take part in one step.
        slots: how many adapters may.
        block: the tokens of one block of keys and values.
        blocks: how many blocks one engine can give; None where that isn't known.
    """

    context: int
    sequences: int
    slots: int
    block: int
    blocks: int | None
