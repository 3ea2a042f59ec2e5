"""Early rejection: candidates are looked at on their way, and the hopeless share of them goes no further.

Speculative rejection (arXiv 2410.20290) with checkpoints instead of a full memory. At a checkpoint the partial answers
and those already complete are scored side by side: a finished answer with a bad score is hopeless too, and need not be
scored as a whole later. Nothing is dropped once all candidates are complete, as that would save no token.

All wait for each other at a checkpoint, so what is dropped depends on texts and scores alone, never on who comes first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from motet_decoding.best_of.bound import cut_short, stripped, tokens_allowed
from motet_decoding.best_of.candidate import Candidate, total_tokens
from motet_decoding.best_of.drawing import Drawn, Finished, OtherScaleError, Rejection, ScorePartial, Source
from motet_decoding.best_of.request import Reject
from motet_decoding.together import together


async def draw_rejecting(
    source: Source, n: int, reject: Reject, score: ScorePartial, finished: Finished, keep: int = 1
) -> Drawn:
    """``n`` candidates, of which the worst share goes at each checkpoint.

    ``score`` is asked only where somebody has to go, and for a complete candidate again only where the scale changes.
    Where the bound on all tokens doesn't reach to the next checkpoint, what is left of it is divided evenly among the
    unfinished, again and again as some of them end early; then the unfinished are complete with ``finish_reason``
    ``length``, and nobody is dropped any more.

    Args:
        source: where candidates come from.
        n: how many start.
        reject: where they are looked at, how many go, and the bound.
        score: scores candidates, complete or not.
        finished: told of each complete candidate as soon as it can't be dropped any more.
        keep: so many are never dropped, however large the share; as many as the request wants back.

    Returns:
        Those never dropped, at least ``keep``, and the dropped: checkpoint by checkpoint, the worst first.

    Raises:
        ValueError: for a bound that doesn't leave every candidate a token.
    """
    race = _Race(source, n, tokens_allowed(reject.max_total_tokens, n, n * source.most))
    known: dict[int, float] = {}
    rejected: list[Rejection] = []
    for at in reject.checkpoints(source.most):
        if not how_many_go(len(race.candidates), reject.share, keep):
            break  # nobody goes here, nor later: a last stretch in one piece costs the engine less
        await race.run(at)
        if all(candidate.finish_reason is not None or _short(candidate, at) for candidate in race.candidates):
            break  # complete, all of them; or the bound makes them so
        scores = await _scores(race.candidates, known, score)
        going = worst([scores[candidate.index] for candidate in race.candidates], reject.share, keep)
        for candidate in [race.candidates[position] for position in going]:
            rejected.append(Rejection(stripped(candidate), scores[candidate.index]))
        race.candidates = [
            candidate for position, candidate in enumerate(race.candidates) if position not in going
        ]
        known = {
            candidate.index: scores[candidate.index]
            for candidate in race.candidates
            if candidate.finish_reason is not None
        }
    await race.finish(finished)
    tokens = total_tokens(race.candidates) + total_tokens([each.candidate for each in rejected])
    return Drawn(tuple(race.candidates), tuple(rejected), tokens)


async def _scores(
    candidates: Sequence[Candidate], known: Mapping[int, float], score: ScorePartial
) -> dict[int, float]:
    """The scores of all, by index, of one scale; ``known`` are those from before."""
    new = [candidate for candidate in candidates if candidate.index not in known]
    try:
        numbers = await score(new)
    except OtherScaleError:
        return await _scores(candidates, {}, score)
    return {**known, **{candidate.index: number for candidate, number in zip(new, numbers, strict=True)}}


def how_many_go(candidates: int, share: float, keep: int = 1) -> int:
    """``share`` of so many candidates, rounded down; at least ``keep`` stay."""
    # The margin is for shares that floats can't hold: 0.29 of 100 is 29.
    return max(0, min(math.floor(candidates * share + 1e-9), candidates - keep))


def worst(scores: Sequence[float], share: float, keep: int = 1) -> list[int]:
    """The positions of those who go, the lowest score first; of equal scores the later position goes."""
    order = sorted(range(len(scores)), key=lambda position: (scores[position], -position))
    return order[: how_many_go(len(scores), share, keep)]


def _short(candidate: Candidate, at: int) -> bool:
    return candidate.finish_reason is None and len(candidate.token_ids) < at


class _Race:
    """The candidates still in it, by index, and the tokens that they may still have together."""

    def __init__(self, source: Source, n: int, left: int) -> None:
        self.candidates = [Candidate(index, "", ()) for index in range(n)]
        self._source = source
        self._left = left
        self._part = 0

    async def run(self, at: int, finished: Finished | None = None) -> None:
        """Draws everybody to ``at`` tokens or the end, as far as the bound goes.

        It takes another round only where the bound held somebody up and another, who ended early, left tokens.
        """
        while running := [candidate for candidate in self.candidates if _short(candidate, at)]:
            allowed = self._left // len(running)
            if not allowed:
                return
            drawn = await together(self._draw(candidate, at, allowed, finished) for candidate in running)
            self._left -= total_tokens(drawn) - total_tokens(running)
            self._part += 1
            further = {candidate.index: candidate for candidate in drawn}
            self.candidates = [further.get(candidate.index, candidate) for candidate in self.candidates]

    async def finish(self, finished: Finished) -> None:
        """Draws everybody to the end or the bound, and tells ``finished`` of each once."""
        for candidate in self.candidates:
            if candidate.finish_reason is not None:
                finished(candidate)
        await self.run(self._source.most, finished)
        for position, candidate in enumerate(self.candidates):
            if candidate.finish_reason is None:
                self.candidates[position] = cut_short(candidate)
                finished(self.candidates[position])

    async def _draw(self, begun: Candidate, at: int, allowed: int, finished: Finished | None) -> Candidate:
        candidate = await self._source.draw(
            begun.index,
            after=begun if begun.token_ids else None,
            part=self._part,
            tokens=min(at - len(begun.token_ids), allowed),
        )
        if finished is not None and candidate.finish_reason is not None:
            finished(candidate)
        return candidate
