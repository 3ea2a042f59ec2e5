"""Which candidates win: by their scores, or by a vote over their answers. Pure; positions in, positions out."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

from motet_decoding.best_of.request import Vote


def ranked(scores: Sequence[float]) -> list[int]:
    """Positions, best first; of equal scores the lower position comes first."""
    return sorted(range(len(scores)), key=lambda position: (-scores[position], position))


def vote(answers: Sequence[str | None], weights: Sequence[float], scores: Sequence[float]) -> list[int]:
    """Positions, best first, where equal answers vote together.

    Answers come by the total weight behind them, equal totals by the answer's best score and then by its first
    position. Each answer is represented once, by its highest score (equal ones: its lowest position), before any
    comes a second time; those without an answer are last.

    Args:
        answers: what each candidate says, None for one that says nothing.
        weights: what each one's vote weighs.
        scores: what settles ties.
    """
    places: dict[str, list[int]] = defaultdict(list)
    for position in ranked(scores):
        answer = answers[position]
        if answer is not None:
            places[answer].append(position)
    totals = _totals(answers, weights)
    groups = sorted(
        places.items(), key=lambda group: (-totals[group[0]], -scores[group[1][0]], min(group[1]))
    )
    first = [positions[0] for _, positions in groups]
    others = [position for _, positions in groups for position in positions[1:]]
    silent = [position for position in ranked(scores) if answers[position] is None]
    return [*first, *others, *silent]


def group_weights(answers: Sequence[str | None], weights: Sequence[float]) -> list[float | None]:
    """The total weight behind each position's answer, None where it has none."""
    totals = _totals(answers, weights)
    return [None if answer is None else totals[answer] for answer in answers]


def vote_weights(scores: Sequence[float], vote: Vote) -> list[float]:
    """What each candidate's vote weighs, by its score.

    softmax: exp(s) / Σ exp(s) over all candidates. sigmoid: 1 / (1 + exp(-s)). score: s. borda: (N - rank + 1)^power,
    rank 1 the best (Kang et al. 2025, arXiv 2502.18581); equal scores share the weights of the ranks that they take, so
    that a vote doesn't depend on who came first.
    """
    if vote.weights == "softmax":
        highest = max(scores, default=0.0)
        shares = [math.exp(score - highest) for score in scores]
        total = math.fsum(shares)
        return [share / total for share in shares]
    if vote.weights == "sigmoid":
        return [_sigmoid(score) for score in scores]
    if vote.weights == "score":
        return [float(score) for score in scores]
    return _borda(scores, vote.power)


def of_likelihoods(vote: Vote) -> Vote:
    """How likelihoods are weighed where they take a scorer's place: all below 0, they can't be weights themselves.

    By their sums the answer with the most votes would be the last.
    """
    return vote.model_copy(update={"weights": "softmax"}) if vote.weights == "score" else vote


def _totals(answers: Sequence[str | None], weights: Sequence[float]) -> Mapping[str, float]:
    behind: dict[str, list[float]] = defaultdict(list)
    for answer, weight in zip(answers, weights, strict=True):
        if answer is not None:
            behind[answer].append(weight)
    # Rounded once: a sum that depended on the order could break ties by it.
    return {answer: math.fsum(each) for answer, each in behind.items()}


def _sigmoid(score: float) -> float:
    if score >= 0:
        return 1.0 / (1.0 + math.exp(-score))
    odds = math.exp(score)  # exp(-score) would overflow
    return odds / (1.0 + odds)


def _borda(scores: Sequence[float], power: float) -> list[float]:
    ranks: dict[float, list[int]] = defaultdict(list)
    for rank, position in enumerate(ranked(scores), start=1):
        ranks[scores[position]].append(rank)
    shared = {
        score: math.fsum((len(scores) - rank + 1) ** power for rank in taken) / len(taken)
        for score, taken in ranks.items()
    }
    return [shared[score] for score in scores]
