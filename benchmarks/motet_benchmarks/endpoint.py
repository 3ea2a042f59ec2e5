"""An OpenAI-compatible endpoint as the benchmarks see it: over HTTP, asked many things at once."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from motet_benchmarks import refusals
from motet_benchmarks.errors import BenchmarkError, Unreachable
from motet_benchmarks.machine import without_secrets

#: Longest waits for an answer and for a connection. Long, since an engine that shares a few cores with its client can
#: keep it from running for many seconds: that belongs to what is measured and is no reason to give up.
REQUEST_SECONDS = 900.0
CONNECT_SECONDS = 180.0
#: The same for the list of models, with which a benchmark begins: an address where nobody is should be told soon.
CONTACT_SECONDS = 30.0
#: A connection that was refused is tried again, for nothing has been asked yet. No request is sent twice.
CONNECT_RETRIES = 2
#: Where a key comes from that the endpoints want. Keys for other services stay at home: a URL may lead anywhere.
KEY_VARIABLE = "MOTET_API_KEY"
MODELS, CHAT = "/v1/models", "/v1/chat/completions"
#: How every path begins, and an address that ends with another version of its own, which counts in its place.
_VERSION, _OTHER_VERSION = "/v1", re.compile(r"/v\d\w*(/openai)?$")

T = TypeVar("T")


def authorization(variable: str = KEY_VARIABLE) -> dict[str, str]:
    """The header for the key that the environment has in `variable`; none where it has none.

    Raises BenchmarkError, which doesn't show it, for a key that no header can hold.
    """
    key = os.environ.get(variable, "").strip()
    if not re.fullmatch("[ -~]*", key):
        raise BenchmarkError(f"{variable}: holds characters that no key has, of several lines or not ASCII")
    return {"Authorization": f"Bearer {key}"} if key else {}


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for one request."""

    text: str
    prompt_tokens: int
    tokens: int
    """Generated."""
    seconds: float
    """From sending to the last byte."""
    contrast: Mapping[str, Any] | None
    """The contrast that the server says it applied."""


class Endpoint:
    """One server at `url`, with or without a closing /v1 or another version; to be entered before it is asked.

    Requests are greedy, but for those of `post`. The key in MOTET_API_KEY or another variable goes along, unless the
    URL has a name and password, which `url` is without. Proxies of the environment aren't used.
    """

    def __init__(self, url: str, *, model: str | None = None, key: str = KEY_VARIABLE) -> None:
        """`key` names the variable. Raises BenchmarkError where what it holds can't be a key."""
        self._asked = (address := url.rstrip("/")).removesuffix(_VERSION)
        self._has_version = self._asked == address and _OTHER_VERSION.search(address) is not None
        self.url = without_secrets(self._asked)
        self._model = model
        self._key = key
        self._headers = authorization(key)
        self._client: httpx.AsyncClient | None = None

    async def __aenter__(self) -> Self:
        try:
            self._client = httpx.AsyncClient(
                base_url=self._asked,
                headers=self._headers,
                timeout=_timeout(REQUEST_SECONDS, CONNECT_SECONDS),
                transport=httpx.AsyncHTTPTransport(
                    retries=CONNECT_RETRIES,
                    # Every request has a connection of its own: one that idled might be closed by the server in the
                    # moment it is used again, and nobody could tell whether that request had been answered.
                    limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
                    # Whoever has set certificates of their own needs none on this machine.
                    trust_env=self._asked.startswith("https:"),
                ),
                # A proxy set for the outside world must not stand between us and a server on this machine.
                trust_env=False,
            )
        except httpx.InvalidURL as problem:
            raise BenchmarkError(f"{self.url}: not a URL: {problem}") from None
        except OSError as problem:
            raise BenchmarkError(f"SSL_CERT_FILE, SSL_CERT_DIR: {problem}") from None
        try:
            if self._model is None:
                self._model = (await self.models())[0]
        except BaseException:
            await self._client.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._client is not None:
            await self._client.aclose()

    @property
    def model(self) -> str:
        """The model that is asked: the one given, else the first that the endpoint lists."""
        if self._model is None:
            raise RuntimeError("enter the endpoint before asking for its model")
        return self._model

    async def models(self) -> list[str]:
        """The names under /v1/models. Raises BenchmarkError where there are none."""
        payload = await self._request("GET", MODELS, seconds=CONTACT_SECONDS)
        try:
            return [str(payload["data"][0]["id"]), *(str(model["id"]) for model in payload["data"][1:])]
        except (KeyError, IndexError, TypeError):
            raise BenchmarkError(f"{self.place(MODELS)} lists no model") from None

    async def complete(
        self, prompt: str, *, tokens: int, contrast: Mapping[str, Any] | bool | None = None
    ) -> Answer:
        """A completion of exactly `tokens` tokens.

        Raises BenchmarkError if the endpoint refuses, stops early, or ignores `contrast`.
        """
        body = {"prompt": prompt, "max_tokens": tokens, "ignore_eos": True}
        answer = await self._ask("/v1/completions", body, contrast, lambda choice: choice["text"])
        if answer.tokens != tokens:
            raise BenchmarkError(
                f"{self.url}: generated {answer.tokens} tokens where {tokens} were asked for with ignore_eos; "
                "speed can't be compared so"
            )
        return answer

    async def chat(
        self,
        messages: Sequence[Mapping[str, str]],
        *,
        tokens: int,
        contrast: Mapping[str, Any] | bool | None = None,
    ) -> Answer:
        """The assistant's next message, of at most `tokens` tokens.

        Raises BenchmarkError if the endpoint refuses or ignores `contrast`.
        """
        body = {"messages": list(messages), "max_tokens": tokens}
        return await self._ask(CHAT, body, contrast, lambda choice: choice["message"]["content"] or "")

    async def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """The JSON answer to ``body``, whatever it asks. Raises BenchmarkError if the endpoint refuses."""
        return await self._request("POST", path, body)

    async def _ask(
        self,
        path: str,
        body: dict[str, Any],
        contrast: Mapping[str, Any] | bool | None,
        text: Callable[[Any], Any],
    ) -> Answer:
        body |= {"model": self.model, "temperature": 0}
        if contrast is not None:
            body["contrast"] = contrast
        start = time.perf_counter()
        payload = await self._request("POST", path, body)
        seconds = time.perf_counter() - start
        try:
            usage = payload["usage"]
            answer = Answer(
                text=str(text(payload["choices"][0])),
                prompt_tokens=int(usage["prompt_tokens"]),
                tokens=int(usage["completion_tokens"]),
                seconds=seconds,
                contrast=(payload.get("motet") or {}).get("contrast"),
            )
        except (KeyError, IndexError, TypeError, AttributeError, ValueError) as problem:
            raise BenchmarkError(f"{self.place(path)}: not an OpenAI answer: {problem!r}") from None
        if contrast and answer.contrast is None:
            raise BenchmarkError(f"{self.place(path)}: answered without the contrast it was asked for")
        return answer

    async def _request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        seconds: float = REQUEST_SECONDS,
    ) -> Any:
        if self._client is None:
            raise RuntimeError("enter the endpoint before asking it")
        connect = min(seconds / 2, CONNECT_SECONDS)
        async with self._told(path, seconds, connect):
            response = await self._client.request(
                method, self._path(path), json=body, timeout=_timeout(seconds, connect)
            )
        return refusals.read(self.place(path), response, self._key)

    def place(self, path: str) -> str:
        """The whole address of a path that begins with /v1, for errors."""
        return f"{self.url}{self._path(path)}"

    def _path(self, path: str) -> str:
        return path.removeprefix(_VERSION) if self._has_version else path

    @asynccontextmanager
    async def _told(
        self, path: str, seconds: float = REQUEST_SECONDS, connect: float = CONNECT_SECONDS
    ) -> AsyncIterator[None]:
        """Says in a sentence what keeps an answer inside from coming, which may take so many seconds altogether."""
        try:
            async with asyncio.timeout(seconds):
                yield
        except httpx.ConnectTimeout:
            raise BenchmarkError(f"{self.url} doesn't answer: no connection within {connect:g} s") from None
        except (httpx.TimeoutException, TimeoutError):
            raise BenchmarkError(f"{self.place(path)}: no answer within {seconds:g} s") from None
        except httpx.HTTPError as problem:
            sentence = f"{self.url} doesn't answer: {str(problem) or type(problem).__name__}"
            raise (Unreachable if isinstance(problem, httpx.ConnectError) else BenchmarkError)(
                sentence
            ) from None


def _timeout(seconds: float, connect: float) -> httpx.Timeout:
    """So long for the next bytes of an answer, and for a connection with all its retries."""
    return httpx.Timeout(seconds, connect=connect / (1 + CONNECT_RETRIES))


async def together(jobs: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """The results of `jobs`, run at once; the first one to fail ends the others and is raised."""
    tasks = [asyncio.create_task(job) for job in jobs]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
