"""What scorers give: one raw reward a conversation, or one error that names the conversation."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass
from typing import Any

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


async def together(work: Iterable[Coroutine[Any, Any, Score]]) -> list[Score]:
    """All scores in order; the first failure, or the client's leaving, ends the others."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
