"""A judge asked about a run's pairs, over HTTP, and its judgements kept in the run's folder as they come."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from motet_benchmarks.endpoint import CHAT, Endpoint, together
from motet_benchmarks.errors import BenchmarkError, Refused
from motet_benchmarks.strategies.judging import (
    BINDINGS,
    Binding,
    Judgement,
    Key,
    Verdict,
    digest,
    messages,
    verdict,
)
from motet_benchmarks.strategies.refusing import UNREADABLE
from motet_benchmarks.strategies.winning import Pair

JUDGEMENTS_FILE = "judgements.jsonl"
_SAID = 200


@dataclass(frozen=True, slots=True)
class Question:
    """One conversation with a judge, and the pairs that it is about: answers may be the same, word for word."""

    messages: tuple[Mapping[str, str], ...]
    digest: str
    places: tuple[tuple[Pair, bool], ...]
    """Each pair with whether the first strategy's answer is shown as A."""

    @property
    def equal(self) -> bool:
        """Whether both answers are the same, so that nobody need be asked."""
        pair, _ = self.places[0]
        return pair.answer.text == pair.against.text


def judge_of(option: str) -> tuple[str, str | None]:
    """The endpoint and the model of --judge-model URL/NAME; no model where the URL is all there is.

    The name begins after /v1/, or without it after the host. Raises BenchmarkError for what is no URL.
    """
    parts = urlsplit(option)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise BenchmarkError(
            f"--judge-model {option}: must be an endpoint's URL and a model's name, "
            "as in http://127.0.0.1:8000/v1/motet-toy"
        )
    before, marked, name = f"{parts.path}/".partition("/v1/")
    if not marked:
        before, name = "", parts.path
    return f"{parts.scheme}://{parts.netloc}{before}", name.strip("/") or None


def load(folder: Path) -> list[Judgement]:
    """The judgements in a run's folder, of whatever judge; empty where there are none yet.

    A line cut off at the end, as a killed run leaves it, is left out. Raises BenchmarkError, with the line, for a
    line that is no judgement.
    """
    file = folder / JUDGEMENTS_FILE
    try:
        content = file.read_bytes() if file.exists() else b""
    except OSError as problem:
        raise BenchmarkError(f"{file}: can't be read: {problem.strerror or problem}") from None
    found = []
    for number, line in enumerate(content[: content.rfind(b"\n") + 1].split(b"\n"), start=1):
        if line.strip():
            try:
                found.append(Judgement.model_validate_json(line))
            except ValidationError as problem:
                first = problem.errors(include_url=False)[0]
                place = ".".join(str(part) for part in first["loc"])
                raise BenchmarkError(f"{file}, line {number}: {place}: {first['msg']}") from None
    return found


def sampled(pairs: Sequence[Pair], most: int | None, *, seed: int) -> list[Pair]:
    """At most so many pairs of each strategy on each task, drawn by ``seed``; in their order."""
    if most is None:
        return list(pairs)
    cells: dict[tuple[str, str], list[int]] = {}
    for place, pair in enumerate(pairs):
        cells.setdefault((pair.answer.task, pair.answer.strategy), []).append(place)
    rng = random.Random(seed)
    return [
        pairs[place]
        for places in cells.values()
        for place in sorted(rng.sample(places, min(most, len(places))))
    ]


def questions(pairs: Iterable[Pair]) -> list[Question]:
    """Every pair in both orders, each conversation once."""
    conversations: dict[str, list[dict[str, str]]] = {}
    places: dict[str, list[tuple[Pair, bool]]] = {}
    for pair in pairs:
        for swapped in (False, True):
            asked = messages(pair, swapped=swapped)
            conversations[key := digest(asked)] = asked
            places.setdefault(key, []).append((pair, swapped))
    return [Question(tuple(asked), key, tuple(places[key])) for key, asked in conversations.items()]


@dataclass
class Judging:
    """Asks the questions that its folder has no judgement of.

    Attributes:
        endpoint: entered.
        folder: the run's.
        tokens: the longest reply.
        concurrency: the most questions at once.
        done: called for each question.
        refused: what the judge said to questions that it couldn't read.
    """

    endpoint: Endpoint
    folder: Path
    tokens: int
    concurrency: int
    done: Callable[[], None] = lambda: None
    refused: list[str] = field(default_factory=list)
    _written: set[Key] = field(default_factory=set)

    async def ask(self, asked: Sequence[Question]) -> Binding | None:
        """Asks, and says how the judge's words were bound; None where there was nothing to ask.

        Raises BenchmarkError where the judge doesn't answer; judgements until then are kept.
        """
        self._mend()
        before = [one for one in load(self.folder) if one.judge == self.endpoint.model]
        known = {one.digest: one for one in before}
        self._written = {one.key() for one in before}
        left = []
        for question in asked:
            if question.digest in known:
                one = known[question.digest]
                self._keep(question, one.verdict, one.said)
            elif question.equal:
                self._keep(question, "tie", "")
            else:
                left.append(question)
        if not left:
            return None
        # The shortest, so that what is refused is the binding and not the length.
        first = min(left, key=lambda question: sum(len(each["content"]) for each in question.messages))
        binding, said = await self._bind(first)
        self._keep(first, verdict(said), said)
        places = asyncio.Semaphore(self.concurrency)

        async def placed(question: Question) -> None:
            async with places:
                try:
                    said = await self._say(question, binding)
                    self._keep(question, verdict(said), said)
                except Refused as refusal:
                    if refusal.status not in UNREADABLE:
                        raise
                    # Not kept, as a judge that can read more may be asked again.
                    self.refused.append(str(refusal))
                    self.done()

        await together([placed(question) for question in left if question is not first])
        return binding

    async def _bind(self, question: Question) -> tuple[Binding, str]:
        refusal: Refused | None = None
        for binding in BINDINGS:
            try:
                return binding, await self._say(question, binding)
            except Refused as error:
                if error.status not in UNREADABLE:
                    raise
                refusal = error
        assert refusal is not None
        raise refusal

    async def _say(self, question: Question, binding: Binding) -> str:
        body = {
            "model": self.endpoint.model,
            "messages": list(question.messages),
            "temperature": 0,
            "max_tokens": self.tokens,
            **BINDINGS[binding],
        }
        answer: Any = await self.endpoint.post(CHAT, body)
        try:
            return str(answer["choices"][0]["message"]["content"] or "")
        except (KeyError, IndexError, TypeError) as error:
            raise BenchmarkError(f"{self.endpoint.place(CHAT)}: not an OpenAI answer: {error!r}") from None

    def _keep(self, question: Question, said: Verdict | None, words: str) -> None:
        """Writes the judgement of each pair that the question is about, unless it is there."""
        lines = []
        for pair, swapped in question.places:
            answer, against = pair.answer, pair.against
            judgement = Judgement(
                judge=self.endpoint.model,
                digest=question.digest,
                task=answer.task,
                strategy=answer.strategy,
                against=against.strategy,
                problem=answer.problem,
                draw=answer.draw,
                against_draw=against.draw,
                swapped=swapped,
                verdict=said,
                said=words[:_SAID],
            )
            if judgement.key() not in self._written:
                self._written.add(judgement.key())
                lines.append(judgement.model_dump_json() + "\n")
        file = self.folder / JUDGEMENTS_FILE
        try:
            with file.open("a", encoding="utf-8") as rows:
                rows.write("".join(lines))
        except OSError as problem:
            raise BenchmarkError(f"{file}: can't write there: {problem.strerror or problem}") from None
        self.done()

    def _mend(self) -> None:
        """Drops a line that was cut off, so that the next one begins a line of its own."""
        file = self.folder / JUDGEMENTS_FILE
        try:
            if file.exists() and not (content := file.read_bytes()).endswith(b"\n"):
                with file.open("r+b") as torn:
                    torn.truncate(content.rfind(b"\n") + 1)
        except OSError as problem:
            raise BenchmarkError(f"{file}: can't write there: {problem.strerror or problem}") from None
