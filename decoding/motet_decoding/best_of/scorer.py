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
        alone: a candidate's score depends on no other candidate: it may be scored as soon as it ends. Equal ones are
            given the first one's score, and a request asks once for all of them where ``needs`` is empty.
    """

    name: str
    needs: frozenset[Need]
    alone: bool

    async def score(self, question: Question, candidates: Sequence[Candidate]) -> Sequence[float]:
        """One number a candidate, in their order, none beyond ``MOST_SCORE``.

        Raises:
            ScorerError: saying why there are none.
        """
        ...


#: The largest score, and with a minus the least: sums and powers of such stay finite.
MOST_SCORE = 1e100


class ScorerError(Exception):
    """A scorer could not do its work; the message says why, in words for the client."""


class VoteError(ScorerError):
    """The expression that finds answers takes too long on these candidates."""


async def scores_of(scorer: Scorer, question: Question, candidates: Sequence[Candidate]) -> list[float]:
    """What a scorer says, if it can be compared.

    Raises:
        ScorerError: it can't.
    """
    given = await scorer.score(question, candidates)
    try:
        scores = [float(score) for score in given]
    except (TypeError, ValueError):
        scores = []
    # Written so that it is false of what is no number.
    if len(scores) != len(candidates) or not all(abs(score) <= MOST_SCORE for score in scores):
        raise ScorerError(f"{scorer.name}: gave no finite number for each candidate")
    return scores
