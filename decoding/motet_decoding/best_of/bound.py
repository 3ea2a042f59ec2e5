"""The bound on all tokens of a search, and what it leaves of candidates."""

from __future__ import annotations

from dataclasses import replace

from motet_decoding.best_of.candidate import Candidate
from motet_decoding.best_of.request import BestOf


def fewest_tokens(best_of: BestOf, most: int) -> int:
    """The least ``max_total_tokens`` under which the search is what was asked for.

    Early rejection must get all candidates to where they are first looked at; everything else needs a token for each.

    Args:
        best_of: what was asked for.
        most: the most tokens that a candidate may have.
    """
    looks = () if best_of.reject is None else best_of.reject.checkpoints(most)
    return best_of.n * (looks[0] if looks else 1)


def tokens_allowed(bound: int | None, n: int, ample: int) -> int:
    """What a search starts with.

    Args:
        bound: the most tokens in all; None for no bound.
        n: the candidates that are drawn first.
        ample: more than the search can come to.

    Raises:
        ValueError: for a bound that doesn't leave every candidate a token.
    """
    if bound is None:
        return ample
    if bound < n:
        raise ValueError(f"{bound} tokens in all are too few for {n} candidates: each has at least one")
    return bound


def cut_short(candidate: Candidate) -> Candidate:
    """The candidate, complete: as it is if it was, else ended by ``length``."""
    return candidate if candidate.finish_reason is not None else replace(candidate, finish_reason="length")


def stripped(candidate: Candidate) -> Candidate:
    """The candidate without what only a response needs: a search may drop thousands, and nobody answers with them."""
    return replace(candidate, logprobs=None, entries=None, pieces=())
