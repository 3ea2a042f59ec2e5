"""What an answer says of how it was chosen: the ``motet.best_of`` field."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from motet_decoding.best_of.request import BestOf
from motet_decoding.best_of.run import Choice
from motet_decoding.best_of.scorer import Scorer


def told_of(best_of: BestOf, scorer: Scorer | None, choice: Choice) -> dict[str, Any]:
    """Of one prompt: who decided what, the scores, and what it took.

    Args:
        best_of: what was asked for.
        scorer: what decides; None for a plain vote.
        choice: what came of it.
    """
    drawn = choice.drawn
    places = {candidate.index: place for place, candidate in enumerate(drawn.candidates)}
    candidates = list(drawn.candidates)
    if best_of.steps is None:  # where candidates branch, those that were dropped have no place of their own
        candidates += [rejection.candidate for rejection in drawn.rejected]
        candidates.sort(key=lambda candidate: candidate.index)

    def listed(values: Sequence[Any]) -> list[Any]:
        """Values of the candidates that were judged, by candidate."""
        return [values[places[each.index]] if each.index in places else None for each in candidates]

    judged = "vote" if scorer is None else f"vote:{scorer.name}" if best_of.judge.vote else scorer.name
    told: dict[str, Any] = {
        "by": "likelihood" if choice.failed is not None else judged,
        "n": best_of.n,
        "candidates": len(drawn.candidates) + len(drawn.rejected),
        "rejected": len(drawn.rejected),
        "tokens": drawn.tokens,
        "choices": [winner.index for winner in choice.winners[: best_of.return_]],
        "scores": listed(choice.scores),
    }
    if choice.answers is not None:
        told["answers"] = listed(choice.answers)
    if choice.reports:
        told["report"] = {name: listed(scores) for name, scores in choice.reports.items()}
    if choice.failed is not None:
        told["failed"] = f"{judged}: {choice.failed}"
    if best_of.candidates:
        told["texts"] = [
            {
                "index": each.index,
                "text": each.text,
                "tokens": len(each.token_ids),
                "finish_reason": each.finish_reason if each.index in places else "rejected",
            }
            for each in candidates
        ]
    return told
