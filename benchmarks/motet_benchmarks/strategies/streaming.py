"""One answer of an endpoint with the times at which its tokens came."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from motet_benchmarks.endpoint import REQUEST_SECONDS, Endpoint
from motet_benchmarks.errors import BenchmarkError, Refused

CHAT = "/v1/chat/completions"
#: Who owns the models of a vLLM server, as it says.
VLLM = ("vllm", "motet")
_EVENTS = "text/event-stream"
_DATA, _DONE = "data:", "[DONE]"
#: Where a message holds text that was generated; reasoning is no part of the answer, but its tokens come first.
_TEXTS = ("content", "reasoning", "reasoning_content")


@dataclass(slots=True)
class Said:
    """What came back for one request. Times are seconds since it was sent."""

    text: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    """As the usage counts them: with best-of those of all candidates."""
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


class StreamingEndpoint(Endpoint):
    """An endpoint whose answers are timed token by token where it streams them."""

    _streams = True
    """Until it refuses a stream for being one."""

    async def salted(self) -> bool:
        """Whether its cached prefixes can be kept apart by `cache_salt`, which vLLM knows and others may refuse.

        Raises BenchmarkError where it doesn't answer.
        """
        payload = await self._request("GET", "/v1/models")
        try:
            return payload["data"][0].get("owned_by") in VLLM
        except (KeyError, IndexError, TypeError, AttributeError):
            return False

    async def say(self, body: Mapping[str, Any], *, stream: bool = True) -> Said:
        """The first choice of the answer to ``body``.

        Where the endpoint answers a request for a stream in one piece, that is taken as it is; where it refuses
        streams, nothing is streamed from then on.

        Raises:
            Refused: the endpoint answers with an error.
            BenchmarkError: it doesn't answer, breaks off, or its answer isn't OpenAI's.
        """
        if not (stream and self._streams):
            return await self._say(dict(body))
        try:
            return await self._say({**body, "stream": True, "stream_options": {"include_usage": True}})
        except Refused as refusal:
            if refusal.status not in (400, 422) or "stream" not in str(refusal):
                raise
        said = await self._say(dict(body))
        self._streams = False
        return said

    async def _say(self, asked: dict[str, Any]) -> Said:
        if self._client is None:
            raise RuntimeError("enter the endpoint before asking it")
        said, begun = Said(), time.perf_counter()
        try:
            async with self._client.stream("POST", CHAT, json=asked) as response:
                if response.status_code < 400 and response.headers.get("content-type", "").startswith(
                    _EVENTS
                ):
                    await self._listen(said, response, begun)
                else:
                    self._read(said, response.status_code, await response.aread())
        except httpx.TimeoutException:
            raise BenchmarkError(f"{self.url}{CHAT}: no answer within {REQUEST_SECONDS:.0f} s") from None
        except httpx.HTTPError as problem:
            raise BenchmarkError(
                f"{self.url} doesn't answer: {str(problem) or type(problem).__name__}"
            ) from None
        except (KeyError, IndexError, TypeError, AttributeError, ValueError) as problem:
            raise BenchmarkError(f"{self.url}{CHAT}: not an OpenAI answer: {problem!r}") from None
        said.seconds = time.perf_counter() - begun
        # Half a character, which JSON can hold and no file can. Two halves may have come in two pieces.
        said.text = said.text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return said

    def _read(self, said: Said, status: int, content: bytes) -> None:
        """An answer in one piece."""
        try:
            payload = json.loads(content)
        except ValueError:
            raise BenchmarkError(
                f"{self.url}{CHAT}: status {status}, not JSON: {content[:200].decode(errors='replace')!r}"
            ) from None
        if status >= 400:
            raise self._refused(payload, status)
        choice = payload["choices"][0]
        said.text = str(choice["message"].get("content") or "")
        said.finish = str(choice.get("finish_reason") or said.finish)
        said.motet = dict(payload.get("motet") or {})
        _count(said, payload["usage"])

    async def _listen(self, said: Said, response: httpx.Response, begun: float) -> None:
        counted = ended = False
        async for payload in self._payloads(response):
            now = time.perf_counter() - begun
            if isinstance(payload, dict) and "error" in payload:
                raise self._refused(payload, 500)
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
                counted = True
        if not ended:
            raise BenchmarkError(f"{self.url}{CHAT}: the stream broke off before the answer's end")
        if not counted:
            raise BenchmarkError(f"{self.url}{CHAT}: streams tell no usage; ask with --no-stream")

    async def _payloads(self, response: httpx.Response) -> AsyncIterator[Any]:
        async for line in response.aiter_lines():
            content = line.removeprefix(_DATA).strip()
            if line.startswith(_DATA) and content != _DONE:
                yield json.loads(content)

    def _refused(self, payload: Any, status: int) -> Refused:
        error = payload.get("error", payload) if isinstance(payload, dict) else payload
        said = error.get("message", error) if isinstance(error, dict) else error
        code = error.get("code") if isinstance(error, dict) else None
        status = code if isinstance(code, int) and 400 <= code < 600 else status
        return Refused(f"{self.url}{CHAT}: refused with {status}: {said}", status)


def _count(said: Said, usage: Mapping[str, Any]) -> None:
    said.prompt_tokens = int(usage["prompt_tokens"])
    said.completion_tokens = int(usage["completion_tokens"])
