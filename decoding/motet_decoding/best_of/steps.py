"""Process-guided beam search: of each step there are several continuations, and the best partial answers go on.

All continuations of a step are scored together once the last of them is drawn, so the beams depend on texts and scores
alone, never on who comes first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Literal

from motet_decoding.best_of.bound import cut_short, stripped, tokens_allowed
from motet_decoding.best_of.candidate import Candidate, total_tokens
from motet_decoding.best_of.drawing import Drawn, Finished, OtherScaleError, Rejection, ScorePartial, Source
from motet_decoding.best_of.request import Steps
from motet_decoding.together import together


@dataclass(frozen=True, slots=True)
class Beam:
    """A partial answer, or a complete one.

    Attributes:
        candidate: all of it.
        scores: of its beginnings, one a step.
        worth: what it is ranked by.
        begun: what its last step goes on from.
    """

    candidate: Candidate
    scores: tuple[float, ...]
    worth: float
    begun: Candidate

    @property
    def complete(self) -> bool:
        """It isn't drawn on."""
        return self.candidate.finish_reason is not None

    def dropped(self, index: int) -> Rejection:
        """Its last step alone: the rest is of others too, and a copy for each of thousands would fill the memory."""
        step = replace(
            stripped(self.candidate),
            index=index,
            text=self.candidate.text[len(self.begun.text) :],
            token_ids=self.candidate.token_ids[len(self.begun.token_ids) :],
        )
        return Rejection(step, self.worth)


async def draw_steps(source: Source, n: int, steps: Steps, score: ScorePartial, finished: Finished) -> Drawn:
    """The ``steps.width`` best answers of a beam search with ``n`` continuations a step, ``n / width`` of each beam.

    A complete answer stays among the beams with its worth as long as that is among the best, and is neither drawn on
    nor scored again. The search ends when all beams are complete, after ``max_steps``, or when the bound on all tokens
    doesn't leave a token for each continuation; beams unfinished then are complete with ``finish_reason`` ``length``.
    A step gets an even share of what the bound leaves for each continuation; one that is held up by it is a step too.

    Args:
        source: where continuations come from.
        n: continuations of the first step, and of all unfinished beams' together while none is complete.
        steps: the beams, what ends a step, what partial answers are worth, and the bounds.
        score: scores partial answers, each of them once; where the scale changes, what steps were worth is forgotten,
            and complete answers are scored again.
        finished: told of each answer at the end: until then a better one might take its place.

    Returns:
        ``width`` candidates with their worths (of ``product``, its logarithm), the best first, which is what their
        indices follow; and the last steps of all that were dropped, step by step and best first, with indices from
        ``width`` on.

    Raises:
        ValueError: for a bound that doesn't leave each of the first continuations a token.
    """
    ample = n * source.most * steps.max_steps
    left = bound = tokens_allowed(steps.max_total_tokens, n, ample)
    branches = n // steps.width
    nothing = Candidate(0, "", ())
    beams = [Beam(nothing, (), 0.0, nothing)]
    rejected: list[Rejection] = []
    for step in range(steps.max_steps):
        draws = n if step == 0 else branches * sum(not beam.complete for beam in beams)
        if not draws or left < draws:
            break
        grown = await _grow(source, beams, n if step == 0 else branches, step, steps.until, left // draws)
        left -= sum(
            total_tokens(candidates) - len(candidates) * len(beam.candidate.token_ids)
            for beam, candidates in zip(beams, grown, strict=True)
        )
        try:
            pool = await _scored(beams, grown, steps.score, score)
        except OtherScaleError:
            pool = await _scored(await _anew(beams, steps.score, score), grown, steps.score, score)
        beams, going = best(pool, steps.width)
        rejected += [
            beam.dropped(index) for index, beam in enumerate(going, start=steps.width + len(rejected))
        ]
    candidates = tuple(cut_short(replace(beam.candidate, index=index)) for index, beam in enumerate(beams))
    for candidate in candidates:
        finished(candidate)
    return Drawn(candidates, tuple(rejected), bound - left, tuple(beam.worth for beam in beams))


def worth_of(scores: Sequence[float], rule: Literal["last", "min", "product"]) -> float:
    """What a partial answer is worth, of its steps' scores: at least one, the first step's first.

    The product is that of the scores' sigmoids, as its logarithm: of many steps it would otherwise be zero.
    """
    if rule == "last":
        return scores[-1]
    if rule == "min":
        return min(scores)
    return math.fsum(_log_sigmoid(number) for number in scores)


def best(pool: Sequence[Beam], width: int) -> tuple[list[Beam], list[Beam]]:
    """Splits a pool into the ``width`` that go on and the others, both the best first.

    Of equal worth is first what stands first in the pool. Two with the same tokens are one answer: the later one goes
    on only where there are too few different ones, and stands behind all others of its worth. It gets other seeds than
    the first, so that their ways may part.
    """
    seen: set[tuple[int, ...]] = set()
    again: list[bool] = []
    for beam in pool:
        again.append(beam.candidate.token_ids in seen)
        seen.add(beam.candidate.token_ids)
    order = sorted(range(len(pool)), key=lambda position: (again[position], -pool[position].worth))
    staying, going = (
        [pool[position] for position in sorted(part, key=lambda position: -pool[position].worth)]
        for part in (order[:width], order[width:])
    )
    return staying, going


async def _grow(
    source: Source, beams: Sequence[Beam], branches: int, step: int, until: str, tokens: int
) -> list[list[Candidate]]:
    """The continuations of each beam by one step, none of the complete ones; all drawn at once."""
    begun = [
        (slot, branch) for slot, beam in enumerate(beams) if not beam.complete for branch in range(branches)
    ]
    drawn = await together(
        source.draw(
            slot * branches + branch,
            after=beams[slot].candidate if step else None,
            part=step,
            tokens=min(tokens, source.most - len(beams[slot].candidate.token_ids)),
            until=until,
        )
        for slot, branch in begun
    )
    grown: list[list[Candidate]] = [[] for _ in beams]
    for (slot, _), candidate in zip(begun, drawn, strict=True):
        # A step may end with the very last token that there is room for.
        full = len(candidate.token_ids) >= source.most
        grown[slot].append(cut_short(candidate) if full else candidate)
    return grown


async def _scored(
    beams: Sequence[Beam],
    grown: Sequence[Sequence[Candidate]],
    rule: Literal["last", "min", "product"],
    score: ScorePartial,
) -> list[Beam]:
    """Complete beams as they are and the continuations of the others, by their parent's rank and their branch."""
    # Equal continuations are equally good, and a scorer's time isn't free.
    different: dict[tuple[int, ...], Candidate] = {}
    for candidate in chain.from_iterable(grown):
        different.setdefault(candidate.token_ids, candidate)
    asked = list(different.values())
    numbers = await score(asked)
    scores = {candidate.token_ids: number for candidate, number in zip(asked, numbers, strict=True)}
    pool: list[Beam] = []
    for beam, candidates in zip(beams, grown, strict=True):
        if beam.complete:
            pool.append(beam)
        for candidate in candidates:
            own = (*beam.scores, scores[candidate.token_ids])
            pool.append(Beam(candidate, own, worth_of(own, rule), beam.candidate))
    return pool


async def _anew(
    beams: Sequence[Beam], rule: Literal["last", "min", "product"], score: ScorePartial
) -> list[Beam]:
    """The beams as if nothing had been scored yet but the complete ones, each as its only step."""
    complete = [beam.candidate for beam in beams if beam.complete]
    numbers = iter(await score(complete) if complete else ())
    listed = [(next(numbers),) if beam.complete else () for beam in beams]
    return [
        replace(beam, scores=scores, worth=worth_of(scores, rule) if scores else 0.0)
        for beam, scores in zip(beams, listed, strict=True)
    ]


def _log_sigmoid(number: float) -> float:
    return min(number, 0.0) - math.log1p(math.exp(-abs(number)))
