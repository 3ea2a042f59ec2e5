"""What is put around a request's scorers: their time is measured, and a failure names the field that asked."""

from __future__ import annotations

import time
from collections.abc import Sequence

from motet_decoding.best_of.candidate import Candidate, Need, Question
from motet_decoding.best_of.scorer import Scorer, ScorerError
from motet_server import metrics


class FieldScorerError(ScorerError):
    """A scorer's failure.

    Attributes:
        field: what asked for it, in dots.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class TimedScorer:
    """A scorer whose time is measured.

    Args:
        scorer: itself.
        kind: what metrics call it; one of a few, whatever clients write.
    """

    def __init__(self, scorer: Scorer, kind: str) -> None:
        self.name = scorer.name
        self.needs: frozenset[Need] = scorer.needs
        self.alone = scorer.alone
        self._scorer = scorer
        self._kind = kind

    async def score(self, question: Question, candidates: Sequence[Candidate]) -> Sequence[float]:
        """As the scorer itself."""
        begun = time.monotonic()
        try:
            return await self._scorer.score(question, candidates)
        finally:
            metrics.observe_scorer(self._kind, time.monotonic() - begun)


class FieldScorer:
    """A scorer that a field of a request asks for.

    Args:
        scorer: itself.
        field: the request's, in dots.
    """

    def __init__(self, scorer: Scorer, field: str) -> None:
        self.name = scorer.name
        self.needs: frozenset[Need] = scorer.needs
        self.alone = scorer.alone
        self._scorer = scorer
        self._field = field

    async def score(self, question: Question, candidates: Sequence[Candidate]) -> Sequence[float]:
        """As the scorer itself.

        Raises:
            FieldScorerError: it failed.
        """
        try:
            return await self._scorer.score(question, candidates)
        except ScorerError as error:
            raise FieldScorerError(self._field, str(error)) from error


def kind_of(name: str) -> str:
    """What metrics call the scorer of a name: without what it is asked about, which a client chooses."""
    return name.partition(":")[0]
