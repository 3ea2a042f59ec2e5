"""How sure the answering model was, token by token (self-certainty; Kang et al. 2025, arXiv 2502.18581)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from motet_decoding.best_of.candidate import Candidate, Need, Question
from motet_decoding.best_of.scorer import Scorer, ScorerError


class CertaintyScorer:
    """The mean over a candidate's tokens of KL(uniform || p); the engine measures it while it generates."""

    name = "certainty"
    needs: frozenset[Need] = frozenset({"certainty"})
    alone = True

    async def score(self, question: Question, candidates: Sequence[Candidate]) -> list[float]:
        """In nats, at least 0.

        Raises:
            ScorerError: for a candidate that carries no finite one.
        """
        found = []
        for candidate in candidates:
            if candidate.certainty is None or not math.isfinite(candidate.certainty):
                raise ScorerError(f"certainty: candidate {candidate.index} carries none")
            found.append(candidate.certainty)
        return found


def make(argument: str | None) -> Scorer:
    """``certainty``.

    Raises:
        ValueError: for an argument.
    """
    if argument is not None:
        raise ValueError("certainty takes nothing behind a colon")
    return CertaintyScorer()
