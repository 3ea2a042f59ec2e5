"""How likely the answering model itself finds its answer."""

from __future__ import annotations

import math
from collections.abc import Sequence

from motet_decoding.best_of.candidate import Candidate, Need, Question
from motet_decoding.best_of.scorer import Scorer, ScorerError


class LikelihoodScorer:
    """The log-likelihood of a candidate's tokens, the one that ended it included.

    Args:
        total: their sum; their mean if not, which doesn't favour short answers.
    """

    needs: frozenset[Need] = frozenset({"logprobs"})
    alone = True

    def __init__(self, total: bool) -> None:
        self.name = "likelihood:sum" if total else "likelihood"
        self._total = total

    async def score(self, question: Question, candidates: Sequence[Candidate]) -> list[float]:
        """In nats, at most 0.

        Raises:
            ScorerError: for a candidate without tokens, whose mean would be none, or without log-probabilities.
        """
        return [self._score(candidate) for candidate in candidates]

    def _score(self, candidate: Candidate) -> float:
        if not candidate.logprobs:
            missing = "tokens" if not candidate.token_ids else "log-probabilities"
            raise ScorerError(f"{self.name}: candidate {candidate.index} has no {missing}")
        total = math.fsum(candidate.logprobs)
        if not math.isfinite(total):
            raise ScorerError(
                f"{self.name}: candidate {candidate.index} has a token that the model could not have written"
            )
        return total if self._total else total / len(candidate.logprobs)


def make(argument: str | None) -> Scorer:
    """``likelihood`` or ``likelihood:sum``.

    Raises:
        ValueError: for another argument.
    """
    if argument not in (None, "mean", "sum"):
        raise ValueError("likelihood is the mean over the tokens; its one other form is likelihood:sum")
    return LikelihoodScorer(total=argument == "sum")
