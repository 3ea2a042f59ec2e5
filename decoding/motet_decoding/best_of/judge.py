"""Who decides: a scorer, a vote, or a vote weighted by a scorer, as the name in a request says it."""

from __future__ import annotations

import re
from dataclasses import dataclass

#: The scorer that is a vote over the candidates' extracted answers; ``vote:SCORER`` weights it.
VOTE = "vote"

_SCORER = re.compile(r"[a-z][a-z0-9_-]*(:[^\s:\x00-\x1f\x7f][^\s\x00-\x1f\x7f]*)?")


@dataclass(frozen=True, slots=True)
class Judge:
    """Who decides: a scorer, a vote (then ``scorer`` is None), or a vote weighted by a scorer."""

    vote: bool
    scorer: str | None


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
    if vote == VOTE:
        if colon and (weighted == VOTE or weighted.startswith(f"{VOTE}:") or not _SCORER.fullmatch(weighted)):
            raise WrongError(field, f"{name!r:.80} isn't a vote weighted by a scorer, such as vote:reward")
        return Judge(True, weighted or None)
    if not _SCORER.fullmatch(name):
        raise WrongError(
            field, f"{name!r:.80} isn't the name of a scorer, such as reward, reward:NAME or likelihood"
        )
    return Judge(False, name)
