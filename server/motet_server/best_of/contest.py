"""One best-of request under way: its engine requests are replaced by candidates, and the winners answer it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextvars import ContextVar
from copy import copy
from dataclasses import dataclass, field
from typing import Any

from motet_decoding.best_of.bound import fewest_tokens
from motet_decoding.best_of.candidate import Candidate, Need, Question
from motet_decoding.best_of.request import BestOf
from motet_decoding.best_of.run import Choice, Jury, choose
from motet_decoding.best_of.scorer import Scorer, ScorerError, VoteError
from motet_decoding.errors import RequestError
from motet_server import metrics
from motet_server.best_of.notices import Notice, Notices

#: The contest of the request that is being answered; None for any other.
current: ContextVar[Contest | None] = ContextVar("motet_contest", default=None)


class JudgingError(RequestError):
    """The scorer failed while the candidates were judged."""

    status, kind = 500, "InternalServerError"


@dataclass(eq=False)
class Contest:
    """What one request asks for, and what came of each of its prompts.

    Attributes:
        best_of: the request's.
        jury: its scorers.
        messages: the conversation; None where the prompt is a text.
        continued: answers go on with the last message.
        model: the name of what answers.
        decode: tokens to text; the second argument leaves out special ones.
        notices: where the best so far is told; None where nobody wants to know.
        choices: by prompt, in the order in which vLLM hands them over.
        error: what ended it.
    """

    best_of: BestOf
    jury: Jury
    messages: Sequence[Mapping[str, Any]] | None
    continued: bool
    model: str
    decode: Callable[[Sequence[int], bool], str]
    notices: Notices | None = None
    choices: list[Choice | None] = field(default_factory=list)
    error: RequestError | None = None

    def generate(
        self, client: Any, prompt: Any, sampling: Any, request_id: str, options: Mapping[str, Any]
    ) -> AsyncIterator[Any]:
        """What vLLM gets in the place of ``client.generate(...)``: outputs of the winners alone.

        Raises:
            RequestError: for sampling under which all candidates would be the same.
        """
        from motet_decoding.engine.candidates import EngineSource

        check_sampling(self.best_of, sampling)
        source = EngineSource(
            client,
            prompt,
            sampling,
            request_id,
            needs=self.jury.needs(self.best_of),
            decode=lambda ids: self.decode(ids, bool(sampling.skip_special_tokens)),
            options=options,
        )
        question = Question(
            prompt_ids=tuple(prompt["prompt_token_ids"]),
            messages=None if self.messages is None else tuple(self.messages),
            prompt=prompt.get("prompt"),
            continued=self.continued,
            model=self.model,
        )
        self.choices.append(None)
        return self._winners(source, question, len(self.choices) - 1, request_id, sampling)

    async def _winners(
        self, source: Any, question: Question, place: int, request_id: str, sampling: Any
    ) -> AsyncIterator[Any]:
        from motet_decoding.engine.candidates import outputs_of

        def tell(candidate: Candidate, score: float) -> None:
            if self.notices is not None:
                self.notices.put(Notice(request_id, place, candidate.index, candidate.text, score))

        try:
            choice = await choose(
                source, question, self.best_of, self.jury, None if self.notices is None else tell
            )
        except VoteError as error:
            self.error = RequestError("best_of.vote.pattern", str(error))
            raise self.error from None
        except ScorerError as error:
            self.error = JudgingError("best_of.by", str(error))
            raise self.error from None
        self.choices[place] = choice
        self._count(choice)
        winners = choice.winners[: self.best_of.return_]
        outputs = [
            piece
            for index, winner in enumerate(winners)
            for piece in outputs_of(winner, index, source.output.outputs[0])
        ]
        if sampling.output_kind.name != "DELTA":
            yield _output(source.output, outputs, finished=True)
            return
        for number, piece in enumerate(outputs, 1):
            yield _output(source.output, [piece], finished=number == len(outputs))

    def _count(self, choice: Choice) -> None:
        drawn = choice.drawn
        metrics.count_candidates(
            len(drawn.candidates) + len(drawn.rejected), rejected=len(drawn.rejected), tokens=drawn.tokens
        )

    @property
    def kind(self) -> str:
        """What metrics call the scorer that decides, without an adapter's name."""
        scorer = self.jury.scorer
        kind = "" if scorer is None else "sum" if "+" in scorer.name else scorer.name.partition(":")[0]
        return ":".join(filter(None, ["vote" if self.best_of.judge.vote else "", kind]))

    @property
    def tokens(self) -> int:
        """Everything that was generated so far, for winners and losers."""
        return sum(choice.drawn.tokens for choice in self.choices if choice is not None)

    def told(self) -> dict[str, Any] | list[dict[str, Any]] | None:
        """What the answer says of it: one object a prompt; None while there is nothing to say."""
        told = [self._told(choice) for choice in self.choices if choice is not None]
        return told[0] if len(self.choices) == 1 and told else told or None

    def _told(self, choice: Choice) -> dict[str, Any]:
        drawn, best_of = choice.drawn, self.best_of
        places = {candidate.index: place for place, candidate in enumerate(drawn.candidates)}
        candidates = list(drawn.candidates)
        if (
            best_of.steps is None
        ):  # where candidates branch, those that were dropped have no place of their own
            candidates += [rejection.candidate for rejection in drawn.rejected]
            candidates.sort(key=lambda candidate: candidate.index)

        def listed(values: Sequence[Any]) -> list[Any]:
            """Values of the candidates that were judged, by candidate."""
            return [values[places[each.index]] if each.index in places else None for each in candidates]

        scorer = self.jury.scorer
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


def check_sampling(best_of: BestOf, sampling: Any) -> None:
    """Refuses what would draw the same candidate again and again, and a bound that leaves candidates no token."""
    if best_of.n > 1 and sampling.temperature < 1e-5:
        raise RequestError(
            "temperature", f"at 0 all {best_of.n} candidates of best_of would be the same; give a higher one"
        )
    for name, way in (("reject", best_of.reject), ("steps", best_of.steps)):
        bound = None if way is None else way.max_total_tokens
        if bound is not None and bound < (fewest := fewest_tokens(best_of, sampling.max_tokens)):
            raise RequestError(
                f"best_of.{name}.max_total_tokens",
                f"{best_of.n} candidates take at least {fewest} tokens to be looked at once, got {bound}",
            )


def _output(last: Any, outputs: list[Any], *, finished: bool) -> Any:
    output = copy(last)
    output.outputs, output.finished = outputs, finished
    return output


class TimedScorer:
    """A scorer whose time is measured."""

    def __init__(self, scorer: Scorer, kind: str) -> None:
        self.name = scorer.name
        self.needs: frozenset[Need] = scorer.needs
        self.alone = scorer.alone
        self._scorer = scorer
        self._kind = kind

    async def score(self, question: Question, candidates: Sequence[Candidate]) -> Sequence[float]:
        """As the scorer itself."""
        begun = time.monotonic()
        try:
            return await self._scorer.score(question, candidates)
        finally:
            metrics.observe_scorer(self._kind, time.monotonic() - begun)


class ChoosingClient:
    """vLLM's engine client, whose ``generate`` gives a contest's requests its winners.

    Args:
        client: vLLM's; everything else is its own.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def generate(self, prompt: Any, sampling_params: Any, request_id: str, **options: Any) -> Any:
        """As ``EngineClient.generate``."""
        contest = current.get()
        if contest is None:
            return self._client.generate(prompt, sampling_params, request_id, **options)
        return contest.generate(self._client, prompt, sampling_params, request_id, options)
