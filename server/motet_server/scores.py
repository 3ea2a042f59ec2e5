"""What scorers give: one raw reward a conversation, or one error that names the conversation."""

from __future__ import annotations

from dataclasses import dataclass

from motet_decoding.errors import RequestError


@dataclass(frozen=True, slots=True)
class Score:
    """One conversation's raw reward, and its length in tokens."""

    reward: float
    tokens: int


class ScoreError(RequestError):
    """A conversation that could not be scored."""

    status, kind = 500, "InternalServerError"


def place(field: str, index: int) -> str:
    """How an error names a conversation."""
    return field if field == "messages" else f"{field}.{index}"
