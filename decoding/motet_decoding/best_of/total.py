"""A sum of scorers as a scorer."""

from __future__ import annotations

import math
from collections.abc import Sequence

from motet_decoding.best_of.candidate import Candidate, Need, Question
from motet_decoding.best_of.scorer import Scorer, scores_of
from motet_decoding.together import together


class TotalScorer:
    """w1 s1 + w2 s2 + ... of each candidate.

    Args:
        terms: weights and scorers.
    """

    def __init__(self, terms: Sequence[tuple[float, Scorer]]) -> None:
        self.name = "+".join(
            scorer.name if weight == 1.0 else f"{weight:.10g}*{scorer.name}" for weight, scorer in terms
        )
        self.needs: frozenset[Need] = frozenset[Need]().union(*(scorer.needs for _, scorer in terms))
        self.alone = all(scorer.alone for _, scorer in terms)
        self._terms = tuple(terms)

    async def score(self, question: Question, candidates: Sequence[Candidate]) -> list[float]:
        """The sums.

        Raises:
            ScorerError: one of the scorers has failed, or gave what can't be compared.
        """
        found = await together(scores_of(scorer, question, candidates) for _, scorer in self._terms)
        weights = [weight for weight, _ in self._terms]
        return [
            math.fsum(weight * score for weight, score in zip(weights, scores, strict=True))
            for scores in zip(*found, strict=True)
        ]
