"""Where candidates come from, and what a way of drawing them gives."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from motet_decoding.best_of.candidate import Candidate, total_tokens
from motet_decoding.together import together


class OtherScaleError(Exception):
    """Another scorer takes over: nothing that was scored before can be compared with what it says."""


#: Scores partial answers, in their order. Raises ``OtherScaleError``, once, where it has scored none of them and all
#: that are to be compared must be scored anew.
ScorePartial = Callable[[Sequence[Candidate]], Awaitable[Sequence[float]]]

#: Told of each complete candidate as soon as it can't be dropped any more; it must not block.
Finished = Callable[[Candidate], None]


class Source(Protocol):
    """Draws candidates from one prompt.

    Attributes:
        most: the most tokens that a candidate may have.
    """

    most: int

    async def draw(
        self,
        index: int,
        *,
        after: Candidate | None = None,
        part: int = 0,
        tokens: int | None = None,
        until: str = "",
    ) -> Candidate:
        """A candidate, or more of one.

        Args:
            index: the candidate's place.
            after: what it goes on from; it isn't finished.
            part: with ``index``, what its seed is derived from; must differ for each draw of an index.
            tokens: the most tokens to draw now, at least one; ``most`` less those of ``after`` at most, and by default.
            until: also stop after this text, where it is drawn now.

        Returns:
            All of it, ``after``'s part included. Its ``finish_reason`` is None where ``tokens`` or ``until`` held it
            up before it was complete: it may go on.
        """
        ...


@dataclass(frozen=True, slots=True)
class Rejection:
    """A candidate that was dropped: before its end, or complete and hopeless.

    Attributes:
        candidate: as far as it had come; of a search over steps its last step alone.
        score: why.
    """

    candidate: Candidate
    score: float


@dataclass(frozen=True, slots=True)
class Drawn:
    """What a way of drawing gives.

    Attributes:
        candidates: those to choose from, complete, by index.
        rejected: the others.
        tokens: generated in all.
        worths: what steps found each of ``candidates`` worth; None where the candidates aren't scored yet.
    """

    candidates: tuple[Candidate, ...]
    rejected: tuple[Rejection, ...]
    tokens: int
    worths: tuple[float, ...] | None = None


async def draw_all(source: Source, n: int, finished: Finished) -> Drawn:
    """``n`` candidates, all of them to their end."""

    async def one(index: int) -> Candidate:
        candidate = await source.draw(index)
        finished(candidate)
        return candidate

    candidates = tuple(await together(one(index) for index in range(n)))
    return Drawn(candidates, (), total_tokens(candidates))
