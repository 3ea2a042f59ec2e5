"""Best-of-N from beginning to end: draw, score, choose."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from motet_decoding.best_of.candidate import Candidate, Need, Question
from motet_decoding.best_of.drawing import Drawn, Finished, OtherScaleError, ScorePartial, Source, draw_all
from motet_decoding.best_of.likelihood import LikelihoodScorer
from motet_decoding.best_of.reject import draw_rejecting
from motet_decoding.best_of.request import BestOf
from motet_decoding.best_of.scorer import Scorer, ScorerError, VoteError, scores_of
from motet_decoding.best_of.select import group_weights, of_likelihoods, ranked, vote, vote_weights
from motet_decoding.best_of.steps import draw_steps
from motet_decoding.best_of.vote import Extractor
from motet_decoding.together import together

_LIKELIHOOD = LikelihoodScorer(total=False)

#: Told of the best candidate so far and its score, each time that it changes.
Provisional = Callable[[Candidate, float], None]


@dataclass(frozen=True, slots=True)
class Jury:
    """The scorers of one request.

    Attributes:
        scorer: what decides; None for a plain vote.
        partial: what scores partial answers, where any are.
        reports: more scorers, by name.
        extractor: finds the answers that are voted on; None where there is no vote.
    """

    scorer: Scorer | None
    partial: Scorer | None = None
    reports: Mapping[str, Scorer] = field(default_factory=dict)
    extractor: Extractor | None = None

    def needs(self, best_of: BestOf) -> frozenset[Need]:
        """What candidates must carry."""
        asked = [scorer.needs for scorer in (self.scorer, self.partial, *self.reports.values()) if scorer]
        fallback: frozenset[Need] = frozenset({"logprobs"} if best_of.on_error == "likelihood" else ())
        return fallback.union(*asked)


@dataclass(frozen=True, slots=True)
class Choice:
    """What came of it.

    Attributes:
        drawn: the candidates, and those that were dropped.
        order: places in ``drawn.candidates``, the best first.
        scores: what decided, in the order of ``drawn.candidates``; None for a candidate without an answer to vote on.
        answers: what was voted on, in the same order; None where there was no vote.
        reports: further scores, by scorer.
        failed: why the scorer didn't decide, where the likelihood did in its place.
    """

    drawn: Drawn
    order: tuple[int, ...]
    scores: tuple[float | None, ...]
    answers: tuple[str | None, ...] | None
    reports: Mapping[str, tuple[float, ...]]
    failed: str | None

    @property
    def winners(self) -> list[Candidate]:
        """The candidates, best first."""
        return [self.drawn.candidates[place] for place in self.order]


async def choose(
    source: Source, question: Question, best_of: BestOf, jury: Jury, provisional: Provisional | None = None
) -> Choice:
    """Draws candidates as ``best_of`` says and puts them into the order that ``jury`` gives them.

    The result depends on the candidates alone, never on which of them ends first.

    Raises:
        ScorerError: there are no scores, and the request doesn't take the likelihood for them.
        VoteError: there are no answers to vote on.
    """
    scoring = _Scoring(question, best_of, jury, provisional)
    drawn = await scoring.during(_draw(source, best_of, scoring.partial, scoring.finished))
    scores = await scoring.scores(drawn)
    reports = {
        name: tuple(await scores_of(scorer, question, drawn.candidates))
        for name, scorer in jury.reports.items()
    }
    shown: Sequence[float | None] = scores
    if jury.extractor is None:
        answers, order = None, ranked(scores)
    else:
        answers = tuple(await _answers(jury.extractor, drawn.candidates))
        rule = best_of.vote if scoring.failed is None else of_likelihoods(best_of.vote)
        weights = [1.0] * len(answers) if jury.scorer is None else vote_weights(scores, rule)
        order, shown = vote(answers, weights, scores), group_weights(answers, weights)
    return Choice(drawn, tuple(order), tuple(shown), answers, reports, scoring.failed)


async def _answers(extractor: Extractor, candidates: Sequence[Candidate]) -> list[str | None]:
    try:
        return await extractor.answers([candidate.text for candidate in candidates])
    except ScorerError as error:
        raise VoteError(str(error)) from None


async def _draw(source: Source, best_of: BestOf, partial: ScorePartial, finished: Finished) -> Drawn:
    if best_of.reject is not None:
        return await draw_rejecting(source, best_of.n, best_of.reject, partial, finished, best_of.return_)
    if best_of.steps is not None:
        return await draw_steps(source, best_of.n, best_of.steps, partial, finished)
    return await draw_all(source, best_of.n, finished)


class _Scoring:
    """Scores candidates while others are still drawn, where their scorer looks at each alone."""

    def __init__(
        self, question: Question, best_of: BestOf, jury: Jury, provisional: Provisional | None
    ) -> None:
        #: Why the scorer doesn't decide any more.
        self.failed: str | None = None
        self._question = question
        self._jury = jury
        self._forgiving = best_of.on_error == "likelihood"
        #: The scorer of steps is that of whole answers, so its rule for steps decides in the end as well.
        self._worths_decide = best_of.steps is not None and best_of.partial == best_of.judge.scorer
        self._provisional = provisional
        #: By candidate.
        self._early: dict[int, asyncio.Task[float]] = {}
        self._best: tuple[float, int] | None = None
        #: What ends the drawing: the first score that failed.
        self._failure: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

    async def during(self, drawing: Coroutine[Any, Any, Drawn]) -> Drawn:
        """What ``drawing`` gives; a score that fails meanwhile ends it, and its end ends the scores."""
        task = asyncio.ensure_future(drawing)
        try:
            awaited: list[asyncio.Future[Any]] = [task, self._failure]
            await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
            if self._failure.done():
                raise self._failure.result()
            return task.result()
        except BaseException:
            await _end([task, *self._early.values()])
            raise

    def finished(self, candidate: Candidate) -> None:
        """Begins to score a complete candidate, where that needs no other."""
        scorer = self._jury.scorer
        if scorer is None or not scorer.alone or self._worths_decide:
            return
        self._early[candidate.index] = asyncio.ensure_future(self._score_alone(scorer, candidate))
        self._early[candidate.index].add_done_callback(self._watch)

    def _watch(self, early: asyncio.Task[float]) -> None:
        error = None if self._forgiving or early.cancelled() else early.exception()
        if error is not None and not self._failure.done():
            self._failure.set_result(error)

    async def partial(self, candidates: Sequence[Candidate]) -> Sequence[float]:
        """The scores of partial answers.

        Raises:
            OtherScaleError: their scorer has failed, and from now on the likelihood takes its place.
        """
        if self._jury.partial is None:
            raise ValueError("partial answers have no scorer")
        before = self.failed
        scores = await self._scored(self._jury.partial, candidates)
        if self.failed != before:
            raise OtherScaleError
        return scores

    async def scores(self, drawn: Drawn) -> Sequence[float]:
        """The scores of complete candidates; of a plain vote ones."""
        scorer, candidates = self._jury.scorer, drawn.candidates
        try:
            if scorer is None:
                return [1.0] * len(candidates)
            if self.failed is not None:
                return await _LIKELIHOOD.score(self._question, candidates)
            if drawn.worths is not None and self._worths_decide:
                return drawn.worths
            if not self._early:
                return await self._scored(scorer, candidates)
            try:
                found = await asyncio.gather(*(self._early[candidate.index] for candidate in candidates))
                return _alike(candidates, found)
            except ScorerError as error:
                return await self._instead(error, candidates)
        finally:
            await _end(self._early.values())

    async def _score_alone(self, scorer: Scorer, candidate: Candidate) -> float:
        (score,) = await scores_of(scorer, self._question, [candidate])
        # Of equals the first is the best, whichever came first.
        if self._provisional is not None and (self._best is None or (score, -candidate.index) > self._best):
            self._best = score, -candidate.index
            self._provisional(candidate, score)
        return score

    async def _scored(self, scorer: Scorer, candidates: Sequence[Candidate]) -> Sequence[float]:
        if self.failed is None:
            try:
                if not scorer.alone:
                    return await scores_of(scorer, self._question, candidates)
                alone = await together(scores_of(scorer, self._question, [each]) for each in candidates)
                return _alike(candidates, [score for (score,) in alone])
            except ScorerError as error:
                return await self._instead(error, candidates)
        return await _LIKELIHOOD.score(self._question, candidates)

    async def _instead(self, error: ScorerError, candidates: Sequence[Candidate]) -> Sequence[float]:
        """The likelihoods of candidates that can't be scored, where the request takes them."""
        if not self._forgiving:
            raise error
        self.failed = str(error)
        return await _LIKELIHOOD.score(self._question, candidates)


def _alike(candidates: Sequence[Candidate], scores: Sequence[float]) -> list[float]:
    """The scores, equal candidates' the first one's: what the engine tells of them differs a little."""
    firsts: dict[tuple[int, ...], float] = {}
    return [
        firsts.setdefault(candidate.token_ids, score)
        for candidate, score in zip(candidates, scores, strict=True)
    ]


async def _end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancels what still runs, and waits until it is over."""
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
