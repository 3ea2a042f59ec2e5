"""The plugin contract of scorers; motet's own go through it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from motet_decoding.best_of.candidate import Candidate, Need, Question


class Scorer(Protocol):
    """Gives candidates numbers; the highest is the best.

    Attributes:
        name: what answers and metrics call it.
        needs: what candidates must carry for it.
        alone: a candidate's score depends on nothing but its tokens: it may be scored as soon as it ends, equal ones
            once.
    """

    name: str
    needs: frozenset[Need]
    alone: bool

    async def score(self, question: Question, candidates: Sequence[Candidate]) -> Sequence[float]:
        """One finite number a candidate, in their order.

        Raises:
            ScorerError: saying why there are none.
        """
        ...


class ScorerError(Exception):
    """A scorer could not do its work; the message says why, in words for the client."""


class VoteError(ScorerError):
    """The expression that finds answers takes too long on these candidates."""
