"""Who decides: a scorer, a sum of scorers, a vote, or a vote weighted by one, as the name in a request says it.

A sum lets a reward be outweighed by what the model itself finds unlikely: r + w log p is regularised best-of-N (Jinnai
et al. 2024, by the KL divergence), which for larger N drifts less to whatever the reward is wrong about than r alone.
Summed over the tokens (``likelihood:sum``), log p favours short answers besides; their mean (``likelihood``) doesn't.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

#: The scorer that is a vote over the candidates' extracted answers; ``vote:SCORER`` weights it.
VOTE = "vote"

_SCORER = re.compile(r"[a-z][a-z0-9_-]*(:[^\s:+*\x00-\x1f\x7f][^\s+*\x00-\x1f\x7f]*)?")
_TERM = re.compile(rf"((?P<weight>[0-9]{{1,4}}(\.[0-9]{{1,6}})?)\*)?(?P<name>{_SCORER.pattern})")

#: Scorers of one sum.
MOST_TERMS = 4


@dataclass(frozen=True, slots=True)
class Judge:
    """Who decides: a scorer or a sum of them, a vote (then ``scorer`` is None), or a vote weighted by the former."""

    vote: bool
    scorer: str | None


@dataclass(frozen=True, slots=True)
class Term:
    """A scorer in a sum."""

    weight: float
    name: str


def read_terms(name: str) -> tuple[Term, ...]:
    """The scorers of a sum, ``reward+0.5*likelihood:sum``; of a scorer itself just that.

    Raises:
        ValueError: for what is neither.
    """
    found = [_TERM.fullmatch(part) for part in name.split("+")]
    terms = [Term(float(match["weight"] or 1.0), match["name"]) for match in found if match is not None]
    names = [term.name for term in terms]
    if len(terms) != len(found) or any(each.partition(":")[0] == VOTE for each in names):
        raise ValueError(
            f"{name!r:.80} isn't the name of a scorer, such as reward, reward:NAME or likelihood, nor a sum of "
            "them, such as reward+0.5*likelihood:sum"
        )
    if len(terms) > MOST_TERMS or len(set(names)) < len(names) or not all(term.weight for term in terms):
        raise ValueError(
            f"{name!r:.80} must add up at most {MOST_TERMS} different scorers, none of them 0 times"
        )
    return tuple(terms)


class WrongError(ValueError):
    """What a part of a `best_of` can't be; ``field`` is the part."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def read_judge(name: str, field: str = "by") -> Judge:
    """What the name of a scorer says.

    Raises:
        ValueError: for a name that is none, whatever the server has.
    """
    vote, colon, weighted = name.partition(":")
    if vote == VOTE and not colon:
        return Judge(True, None)
    judge = Judge(True, weighted) if vote == VOTE else Judge(False, name)
    try:
        read_terms(judge.scorer or "")
    except ValueError as error:
        raise WrongError(field, str(error)) from None
    return judge
