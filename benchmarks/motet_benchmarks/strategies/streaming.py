"""One answer of an endpoint with the times at which its tokens came."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Any

import httpx

from motet_benchmarks import refusals
from motet_benchmarks.endpoint import CHAT, CONTACT_SECONDS, KEY_VARIABLE, MODELS, Endpoint
from motet_benchmarks.errors import BenchmarkError, Refused
from motet_benchmarks.events import events
from motet_benchmarks.strategies.patience import Patience

#: Who owns the models of a vLLM server, as it says.
VLLM = ("vllm", "motet")
#: What is raised where an answer lacks something that OpenAI's have.
MALFORMED = (LookupError, TypeError, AttributeError, ValueError, RecursionError)
#: Fields that ask for a stream, from the best way to none at all: an endpoint may refuse the second field, or both.
WAYS: tuple[Mapping[str, Any], ...] = (
    {"stream": True, "stream_options": {"include_usage": True}},
    {"stream": True},
    {},
)
_UNSTREAMED = len(WAYS) - 1
_ABOUT_STREAMS = re.compile(r"\bstream(_options|ing|s)?\b", re.IGNORECASE)
_EVENTS = "text/event-stream"
#: Where a message holds text that was generated; reasoning is no part of the answer, but its tokens come first.
_TEXTS = ("content", "reasoning", "reasoning_content")


@dataclass(slots=True)
class Said:
    """What came back for one request. Times are seconds since it was sent."""

    text: str = ""
    prompt_tokens: int = 0
    """Zero where a stream tells no usage."""
    completion_tokens: int = 0
    """As the usage counts them: with best-of those of all candidates."""
    counted: bool = False
    """Whether they are the pieces of a stream that tells no usage."""
    finish: str = "stop"
    motet: dict[str, Any] = field(default_factory=dict)
    """What a motet server says it applied."""
    seconds: float = 0.0
    first: float | None = None
    """The first token; None unstreamed."""
    last: float | None = None
    """The last token, which may have ended the answer without any text; None unstreamed."""
    pieces: int = 0
    """Parts of a stream that brought text."""


def pace(said: Said, tokens: int, *, at_once: bool) -> float | None:
    """Seconds for each token of a streamed answer after its first; None where that can't be told.

    Args:
        said: the answer.
        tokens: of it.
        at_once: whether it was streamed when all of it was there, as best-of's are.
    """
    if at_once or said.first is None or said.last is None or said.pieces < 2 or tokens < 2:
        return None
    return (said.last - said.first) / (tokens - 1)


class StreamingEndpoint(Endpoint):
    """An endpoint whose answers are timed token by token where it streams them.

    A request that it had no time for is asked again, as long as `patience` says. What a user should know of this, and
    that it refuses streams, is told on stderr in the end.
    """

    def __init__(
        self, url: str, *, model: str | None = None, key: str = KEY_VARIABLE, patience: Patience | None = None
    ) -> None:
        super().__init__(url, model=model, key=key)
        self._patience = Patience() if patience is None else patience
        self._way = 0

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await super().__aexit__(kind, error, trace)
        for remark in self.remarks():
            print(f"{self.url}: {remark}", file=sys.stderr)

    def remarks(self) -> list[str]:
        """What a user should know of how it was asked."""
        found = [] if self.streams else ["refuses streams, so that the times of tokens aren't measured"]
        waited = self._patience.remark()
        return found if waited is None else [*found, waited]

    @property
    def streams(self) -> bool:
        """Whether it hasn't refused streams so far."""
        return self._way < _UNSTREAMED

    async def salted(self) -> bool:
        """Whether its cached prefixes can be kept apart by `cache_salt`, which vLLM knows and others may refuse.

        Raises BenchmarkError where it doesn't answer.
        """
        payload = await self._request("GET", MODELS, seconds=CONTACT_SECONDS)
        try:
            return payload["data"][0].get("owned_by") in VLLM
        except (KeyError, IndexError, TypeError, AttributeError):
            return False

    async def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """The JSON answer to ``body``, whatever it asks. Raises BenchmarkError if the endpoint refuses."""
        return await self._patience.ask(partial(super().post, path, body))

    async def say(self, body: Mapping[str, Any], *, stream: bool = True) -> Said:
        """The first choice of the answer to ``body``, timed from when it was last asked.

        Where the endpoint answers a request for a stream in one piece, that is taken as it is; where it refuses
        streams, or to count their tokens, and serves the same request without, so are all from then on.

        Raises:
            Refused: the endpoint answers with an error.
            BenchmarkError: it doesn't answer, breaks off, or its answer isn't OpenAI's; or JSON can't hold ``body``.
        """
        way = self._way if stream else _UNSTREAMED
        while True:
            try:
                said = await self._patience.ask(partial(self._say, {**body, **WAYS[way]}))
            except Refused as refusal:
                about_streams = refusal.status in (400, 422) and _ABOUT_STREAMS.search(refusal.said)
                if way == _UNSTREAMED or not about_streams:
                    raise
                way += 1
            else:
                if stream:
                    self._way = max(self._way, way)
                return said

    async def _say(self, asked: dict[str, Any]) -> Said:
        if self._client is None:
            raise RuntimeError("enter the endpoint before asking it")
        try:
            request = self._client.build_request("POST", self._path(CHAT), json=asked)
        except ValueError as problem:
            raise BenchmarkError(f"JSON can't hold the request: {problem}") from None
        said, begun = Said(), time.perf_counter()
        async with self._told(CHAT):
            response = await self._client.send(request, stream=True)
            try:
                kind = response.headers.get("content-type", "")
                if response.status_code < 400 and kind.startswith(_EVENTS):
                    await self._listen(said, response, begun)
                else:
                    await response.aread()
                    self._read(said, response)
            except MALFORMED as problem:
                raise BenchmarkError(f"{self.place(CHAT)}: not an OpenAI answer: {problem!r}") from None
            finally:
                await response.aclose()
        said.seconds = time.perf_counter() - begun
        # Half a character, which JSON can hold and no file can. Two halves may have come in two pieces.
        said.text = said.text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return said

    def _read(self, said: Said, response: httpx.Response) -> None:
        """An answer in one piece."""
        payload = refusals.read(self.place(CHAT), response, self._key)
        choice = payload["choices"][0]
        said.text = str(choice["message"].get("content") or "")
        said.finish = str(choice.get("finish_reason") or said.finish)
        said.motet = dict(payload.get("motet") or {})
        if not payload.get("usage"):
            raise BenchmarkError(
                f"{self.place(CHAT)}: the answer has no `usage`, so that nobody knows how many tokens it has; only "
                "those of streams can be counted"
            )
        _count(said, payload["usage"])

    async def _listen(self, said: Said, response: httpx.Response, begun: float) -> None:
        told = ended = False
        async for payload in events(response):
            now = time.perf_counter() - begun
            if isinstance(payload, dict) and "error" in payload:
                raise refusals.refused(self.place(CHAT), payload, self._key)
            said.motet |= payload.get("motet") or {}
            for choice in payload["choices"][:1]:
                delta = choice.get("delta") or {}
                said.text += delta.get("content") or ""
                if any(delta.get(name) for name in _TEXTS):
                    said.first = now if said.first is None else said.first
                    said.pieces += 1
                if choice.get("finish_reason"):
                    said.finish, ended = str(choice["finish_reason"]), True
                    said.last = now
            if payload.get("usage"):
                _count(said, payload["usage"])
                told = True
        if not ended:
            raise BenchmarkError(f"{self.place(CHAT)}: the stream broke off before the answer's end")
        if not told:
            said.completion_tokens, said.counted = said.pieces, True


def _count(said: Said, usage: Mapping[str, Any]) -> None:
    said.prompt_tokens = int(usage["prompt_tokens"])
    said.completion_tokens = int(usage["completion_tokens"])
