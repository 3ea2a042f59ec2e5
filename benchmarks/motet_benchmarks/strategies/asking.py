"""One problem put to the endpoint as one strategy asks it, and the sample that comes of it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from motet_benchmarks.endpoint import CHAT
from motet_benchmarks.errors import BenchmarkError, Refused
from motet_benchmarks.strategies.cost import cost_of
from motet_benchmarks.strategies.declined import declined
from motet_benchmarks.strategies.folder import Key
from motet_benchmarks.strategies.records import Run, Sample, Strategy
from motet_benchmarks.strategies.refusing import UNREADABLE, Ignored
from motet_benchmarks.strategies.streaming import MALFORMED, Said, StreamingEndpoint, pace
from motet_benchmarks.strategies.tasks.task import Problem, Task

#: Fields of a request that bound an answer.
BOUNDS = frozenset({"max_tokens", "max_completion_tokens"})
#: Tokens of an attempt where nothing else bounds them.
ATTEMPTED = 128


@dataclass(frozen=True, slots=True)
class Question:
    """One answer that is wanted."""

    strategy: Strategy
    task: Task
    problem: Problem
    draw: int
    asked: Mapping[str, Any] = field(default_factory=dict)
    """Fields that the task asks with; the strategy's count where both have one."""

    @property
    def key(self) -> Key:
        """Which sample will answer it."""
        return self.strategy.name, self.task.name, self.problem.id, self.draw


@dataclass(frozen=True, slots=True)
class Asker:
    """Puts questions to an endpoint."""

    endpoint: StreamingEndpoint
    run: Run
    stream: bool = True
    salt: str | None = None
    """Keeps every strategy from finding in the endpoint's cache what another has had computed; None where it can't."""

    async def attempt(self, question: Question) -> None:
        """Asks and keeps nothing: whether the strategy is served, and so that no answer pays for being the first.

        Raises:
            Refused: the endpoint answers with an error.
            Ignored: it has answered without the contrast or the best-of that was asked for.
            BenchmarkError: it doesn't answer, or not as an OpenAI endpoint does.
        """
        await self._said(
            replace(question, asked={"max_tokens": ATTEMPTED, **question.asked}), "an attempt at "
        )

    async def ask(self, question: Question) -> Sample:
        """The sample, which nobody has graded yet.

        A problem that is refused, such as one that is too long, is answered by an empty text.

        Raises:
            Refused: the endpoint answers with an error that isn't about the text.
            Ignored, BenchmarkError: as in `attempt`.
        """
        try:
            said = await self._said(question)
        except Refused as refusal:
            if refusal.status not in UNREADABLE:
                raise
            return _refused(question, refusal)
        # It may have been asked again, and was timed from the last time.
        began = time.time() - said.seconds
        return _sample(question, said, began)

    async def _said(self, question: Question, purpose: str = "") -> Said:
        # An attempt has a salt of its own, so that it spares no answer the work on a prompt.
        salt = None if self.salt is None else purpose + self.salt
        try:
            said = await self.endpoint.say(body_of(question, self.run, salt), stream=self.stream)
        except Refused as refusal:
            where = f"{question.task.name}, problem {question.problem.id}"
            raise Refused(f"{where}: {refusal}", refusal.status) from None
        check_applied(question.strategy, said)
        return said


def body_of(question: Question, run: Run, salt: str | None = None) -> dict[str, Any]:
    """The request. Only what may differ from draw to draw gets a seed; of ``salt`` each strategy has its own.

    The answer is bounded by the strategy, else by the run, else by the task.
    """
    strategy = question.strategy
    body = strategy.body()
    if strategy.best_of is not None:
        best_of = {"n": strategy.best_of} if isinstance(strategy.best_of, int) else dict(strategy.best_of)
        # The candidates' texts say how many of the tokens are the answer's own.
        body["best_of"] = {**best_of, "candidates": True}
    asked, bound = dict(question.asked), run.tokens or question.task.tokens
    if BOUNDS & body.keys() or bound is not None:
        asked = {name: value for name, value in asked.items() if name not in BOUNDS}
    if not BOUNDS & body.keys() and bound is not None:
        asked["max_tokens"] = bound
    return {
        **asked,
        "model": strategy.model or run.model,
        "messages": [dict(message) for message in question.problem.messages],
        **({} if salt is None else {"cache_salt": _salt_of(strategy, salt)}),
        **body,
        **({"seed": seed_of(question, run.seed)} if not strategy.greedy else {}),
    }


def seed_of(question: Question, seed: int) -> int:
    """From the run's seed, the problem and the draw: the same for all strategies, 31 bits."""
    named = f"{seed}\0{question.task.name}\0{question.problem.id}\0{question.draw}"
    return int.from_bytes(hashlib.sha256(named.encode()).digest()[:4], "big") >> 1


def _salt_of(strategy: Strategy, salt: str) -> str:
    # Hashed, since vLLM takes no slashes and no more than 128 characters.
    return hashlib.sha256(f"{salt} {strategy.name}".encode()).hexdigest()


def check_applied(strategy: Strategy, said: Said) -> None:
    """Raises Ignored where the endpoint doesn't say that it has done what the strategy asks for."""
    for name, asked in (("contrast", strategy.contrast), ("best_of", strategy.best_of)):
        if asked is not None and not said.motet.get(name):
            raise Ignored(f"{CHAT}: answered without the {name} that it was asked for")


def _sample(question: Question, said: Said, began: float) -> Sample:
    try:
        cost = cost_of(said.prompt_tokens, said.completion_tokens, said.motet, pieces=said.pieces)
    except MALFORMED as error:
        raise BenchmarkError(f"{CHAT}: motet isn't what a motet server says: {error!r}") from None
    return Sample(
        **_about(question),
        text=said.text,
        score=None,
        declined=declined(said.text),
        prompt_tokens=said.prompt_tokens,
        answer_tokens=cost.answer,
        generated=cost.generated,
        scored=cost.scored,
        forwards=cost.forwards,
        seconds=said.seconds,
        began=began,
        first_token=said.first,
        per_token=pace(said, cost.answer, at_once=question.strategy.best_of is not None),
        counted=said.counted,
        finish=said.finish,
    )


def _refused(question: Question, refusal: Refused) -> Sample:
    """An empty answer, which has cost nothing and is graded like any other."""
    nothing: dict[str, Any] = dict.fromkeys(
        ("prompt_tokens", "answer_tokens", "generated", "forwards", "seconds"), 0
    )
    refused: dict[str, Any] = {"text": "", "refusal": str(refusal), "score": None, "finish": "refused"}
    return Sample(**_about(question), **nothing, **refused)


def _about(question: Question) -> dict[str, Any]:
    """Which answer a sample is, and to what."""
    *before, last = question.problem.messages
    return {
        "strategy": question.strategy.name,
        "task": question.task.name,
        "problem": question.problem.id,
        "family": question.problem.family,
        "draw": question.draw,
        "context": tuple(before),
        "prompt": last["content"],
        "reference": question.problem.reference,
    }
