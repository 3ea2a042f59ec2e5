"""One best-of request under way: its engine requests are replaced by candidates, and the winners answer it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextvars import ContextVar
from copy import copy
from dataclasses import dataclass, field
from typing import Any

from motet_decoding.best_of.candidate import Candidate, Question
from motet_decoding.best_of.judge import read_terms
from motet_decoding.best_of.request import BestOf
from motet_decoding.best_of.run import Choice, Jury, choose
from motet_decoding.best_of.scorer import ScorerError, VoteError
from motet_decoding.errors import RequestError
from motet_server import metrics, vllm_private
from motet_server.best_of.notices import Notice, Notices
from motet_server.best_of.sampling import check_sampling
from motet_server.best_of.telling import told_of
from motet_server.best_of.timed import FieldScorerError, kind_of
from motet_server.voices import group as groups

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
            RequestError: for a prompt that scorers can't read, or sampling under which candidates can't be told apart.
        """
        from motet_decoding.engine.candidates import EngineSource

        if "prompt_token_ids" not in prompt:
            field = "prompt" if self.messages is None else "messages"
            raise RequestError(field, "can't be embeddings with best_of: a scorer can't read them")
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

        # The answer's own, which vLLM numbers for each prompt of a completion.
        answer = request_id if self.messages is not None else request_id.rpartition("-")[0]

        def tell(candidate: Candidate, score: float) -> None:
            if self.notices is not None:
                self.notices.put(Notice(answer, place, candidate.index, candidate.text, score))

        streamed = sampling.output_kind.name == "DELTA"
        try:
            choice = await choose(
                source, question, self.best_of, self.jury, None if self.notices is None else tell
            )
        except VoteError as error:
            self.error = RequestError("best_of.vote.pattern", str(error))
            raise self._ending(streamed) from None
        except ScorerError as error:
            field = error.field if isinstance(error, FieldScorerError) else "best_of.by"
            self.error = JudgingError(field, str(error))
            raise self._ending(streamed) from None
        self.choices[place] = choice
        self._count(choice)
        winners = choice.winners[: self.best_of.return_]
        outputs = [
            piece
            for index, winner in enumerate(winners)
            for piece in outputs_of(winner, index, source.output.outputs[0])
        ]
        if not streamed:
            yield _output(source.output, outputs, finished=True, alone=self.best_of.n == 1)
            return
        for number, piece in enumerate(outputs, 1):
            yield _output(source.output, [piece], finished=number == len(outputs), alone=self.best_of.n == 1)

    def _ending(self, streamed: bool) -> Exception:
        """What vLLM is told of the error: of a stream's, unless it is its own, it prints a traceback for the owner."""
        assert self.error is not None
        return vllm_private.generation_error(str(self.error)) if streamed else self.error

    def _count(self, choice: Choice) -> None:
        drawn = choice.drawn
        metrics.count_candidates(
            len(drawn.candidates) + len(drawn.rejected), rejected=len(drawn.rejected), tokens=drawn.tokens
        )

    @property
    def kind(self) -> str:
        """What metrics call the scorer that decides, without an adapter's name."""
        judge = self.best_of.judge
        terms = [] if judge.scorer is None else read_terms(judge.scorer)
        kind = "sum" if len(terms) > 1 else "".join(kind_of(term.name) for term in terms)
        return ":".join(filter(None, ["vote" if judge.vote else "", kind]))

    @property
    def tokens(self) -> int:
        """Everything that was generated so far, for winners and losers."""
        return sum(choice.drawn.tokens for choice in self.choices if choice is not None)

    def told(self) -> dict[str, Any] | list[dict[str, Any] | None] | None:
        """What the answer says of it: of several prompts a list; None for a prompt while there is nothing to say."""
        told = [
            None if choice is None else told_of(self.best_of, self.jury.scorer, choice)
            for choice in self.choices
        ]
        if not any(told):
            return None
        return told[0] if len(told) == 1 else told


def _output(last: Any, outputs: list[Any], *, finished: bool, alone: bool) -> Any:
    output = copy(last)
    output.outputs, output.finished = outputs, finished
    if not alone:
        output.metrics = None  # the first candidate's
    return output


class ChoosingClient:
    """vLLM's engine client, whose ``generate`` keeps groups to their room, and gives a contest's requests its winners.

    Args:
        client: vLLM's; everything else is its own.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def generate(self, prompt: Any, sampling_params: Any, request_id: str, **options: Any) -> Any:
        """As ``EngineClient.generate``."""
        contest, group = current.get(), groups.current.get()
        if group is not None:
            sampling_params = group.fitted(prompt, sampling_params)
        if contest is None:
            return self._client.generate(prompt, sampling_params, request_id, **options)
        return contest.generate(self._client, prompt, sampling_params, request_id, options)
