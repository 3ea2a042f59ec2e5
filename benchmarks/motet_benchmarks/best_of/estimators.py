"""What the best of K would be worth, for every K, from one set of N candidates a prompt."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

from motet_decoding.best_of.request import Vote
from motet_decoding.best_of.select import ranked, vote, vote_weights

#: A vote over some of the candidates; the winner's place among them.
Poll = Callable[[Sequence[int]], int]


def winning_shares(n: int, k: int) -> list[float]:
    """The part of all subsets of ``k`` of ``n`` candidates whose best is the one of each rank, the best rank first.

    Rank j (from 0) is the best of a subset that takes it and k - 1 of the n - 1 - j below: C(n-1-j, k-1) / C(n, k).

    Raises ValueError unless 1 <= k <= n.
    """
    if not 1 <= k <= n:
        raise ValueError(f"k must lie between 1 and {n}, got {k}")
    return [math.comb(n - 1 - rank, k - 1) / math.comb(n, k) for rank in range(n)]


def best_of(scores: Sequence[float], values: Sequence[float], k: int) -> float:
    """The expected value of the best of ``k``, without bias: the mean over all subsets of ``k`` of the candidates.

    With the values in ascending order of their scores this is 1/C(N,K) times the sum of C(i-1, K-1) value_(i). Of equal
    scores the earlier candidate wins, as in the server; which of two that is doesn't depend on the rest of a subset, so
    the order is the same for all of them.

    Args:
        scores: what decides, a number a candidate.
        values: what is wanted of the winner, such as 1 where it is right.
        k: how many would have been drawn.

    Raises ValueError unless 1 <= k <= N and there are as many values as scores.
    """
    shares = winning_shares(len(scores), k)
    order = ranked(scores)
    if len(values) != len(order):
        raise ValueError(f"{len(order)} scores, {len(values)} values")
    return math.fsum(share * values[place] for share, place in zip(shares, order, strict=True))


def poll(
    answers: Sequence[str | None], scores: Sequence[float] | None = None, settings: Vote | None = None
) -> Poll:
    """A vote as the server holds it: plain, or weighted by ``scores`` as ``settings`` say."""
    how = settings or Vote()

    def hold(places: Sequence[int]) -> int:
        own = [1.0] * len(places) if scores is None else [scores[place] for place in places]
        weights = own if scores is None else vote_weights(own, how)
        return places[vote([answers[place] for place in places], weights, own)[0]]

    return hold


def voted(hold: Poll, values: Sequence[float], k: int, *, subsets: int, seed: int = 0) -> float:
    """The expected value of what a vote among ``k`` chooses, over random subsets.

    A vote has no closed form: whom a candidate's vote helps depends on who else is there. So this is the mean over
    ``subsets`` random subsets, whose noise comes on top of the prompts'; for one and for all candidates it is exact.

    Raises ValueError unless 1 <= k <= N.
    """
    n = len(values)
    if not 1 <= k <= n:
        raise ValueError(f"k must lie between 1 and {n}, got {k}")
    if k == 1:
        return math.fsum(values) / n
    if k == n:
        return float(values[hold(range(n))])
    rng = random.Random(f"{seed} {k} subsets")
    # A candidate's place among the others settles ties, so subsets keep the order.
    return math.fsum(values[hold(sorted(rng.sample(range(n), k)))] for _ in range(subsets)) / subsets


def divergence_bound(n: int) -> float:
    """The most nats that the best of ``n`` can be away from what it was drawn from: log n - (n - 1) / n."""
    return math.log(n) - (n - 1) / n
