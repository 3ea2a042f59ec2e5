"""One streamed request, from its sending to its last token, whatever comes of it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx

from motet_benchmarks.adapters.samples import LISTING, Reply
from motet_benchmarks.endpoint import CONNECT_SECONDS, authorization
from motet_benchmarks.events import events

#: The longest wait for the next bytes; more counts as a failed request.
REQUEST_SECONDS = 300.0
#: Names the version that answers.
HEADER = "X-Motet-Adapter"
#: In these states the engine holds an adapter's weights, or is about to.
HELD = frozenset({"loading", "loaded", "unloading"})

#: vLLM's counters, of its first engine.
_CACHE = re.compile(r"^vllm:prefix_cache_(hits|queries)_total(?:\{[^}]*\})? (\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Listing:
    """What a server says of its adapters."""

    loaded: int
    """Versions that its engine holds."""
    most: int
    """That it keeps loaded; while a name moves, one more."""
    store: str


class Asker:
    """Asks a server at `url`, with a connection for every request; to be entered first.

    Args:
        url: with or without a closing /v1.
        tell: called with the version and the moment of every first token.
        clock: seconds that only grow.
        transport: instead of the network, for tests.
    """

    def __init__(
        self,
        url: str,
        *,
        tell: Callable[[str, float], None] = lambda version, moment: None,
        clock: Callable[[], float] = time.monotonic,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.tell = tell
        self._clock = clock
        self._client = httpx.AsyncClient(
            base_url=url.rstrip("/").removesuffix("/v1"),
            headers=authorization(),
            timeout=httpx.Timeout(REQUEST_SECONDS, connect=CONNECT_SECONDS),
            # No retries: what fails once has failed. No connection is used twice, see ``Endpoint``.
            transport=transport
            or httpx.AsyncHTTPTransport(
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=0), trust_env=False
            ),
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.__aexit__(kind, error, trace)

    async def ask(self, asked: str, model: str, prompt: int, ids: Sequence[int], tokens: int) -> Reply:
        """A greedy answer of `tokens` tokens to the prompt with these token ids."""
        body = {
            "model": model,
            "prompt": list(ids),
            "max_tokens": tokens,
            "temperature": 0,
            "ignore_eos": True,
            "stream": True,
            "return_token_ids": True,
        }
        sent = self._clock()
        first: float | None = None
        version: str | None = None
        said: list[int] = []
        problem: str | None = None
        try:
            async with self._client.stream("POST", "/v1/completions", json=body) as response:
                if response.status_code != 200:
                    await response.aread()
                    problem = f"status {response.status_code}: {_said(response)}"
                else:
                    version = response.headers.get(HEADER)
                    async for event in events(response):
                        problem = problem or _refusal(event, version)
                        fresh = _tokens(event)
                        if fresh and first is None:
                            first = self._clock()
                            if version is not None:
                                self.tell(version, first)
                        said += fresh
                    if problem is None and len(said) != tokens:
                        problem = f"ended after {len(said)} of {tokens} tokens"
        except httpx.TimeoutException:
            problem = f"nothing came for {REQUEST_SECONDS:.0f} s"
        except (httpx.HTTPError, ValueError, LookupError, TypeError) as error:
            problem = f"{type(error).__name__}: {error}"
        return Reply(asked, model, prompt, sent, first, self._clock(), version, tuple(said), problem)

    async def listing(self) -> Listing | Reply:
        """What the server says of its adapters; a reply with a problem if it doesn't."""
        sent = self._clock()
        try:
            response = await self._client.get("/v1/adapters")
            if response.status_code == 200:
                return read_listing(response.json())
            problem = f"status {response.status_code}: {_said(response)}"
        except (httpx.HTTPError, ValueError, LookupError, TypeError) as error:
            problem = f"{type(error).__name__}: {error}"
        return Reply(LISTING, "", 0, sent, None, self._clock(), None, (), problem)

    async def cached(self) -> tuple[float, float] | None:
        """Tokens of prompts that were found in the prefix cache so far, and that were looked for; None if unknown."""
        try:
            response = await self._client.get("/metrics")
        except httpx.HTTPError:
            return None  # requests fail too, and are counted
        found = {name: float(value) for name, value in _CACHE.findall(response.text)}
        return (found["hits"], found["queries"]) if len(found) == 2 else None


def read_listing(answer: Any) -> Listing:
    """What GET /v1/adapters answers. Raises LookupError, TypeError for what isn't that."""
    loaded = sum(version["state"] in HELD for adapter in answer["data"] for version in adapter["versions"])
    return Listing(loaded, int(answer["max_loaded"]), str(answer["store"]))


def _tokens(event: Any) -> list[int]:
    return [int(token) for choice in event.get("choices") or () for token in choice.get("token_ids") or ()]


def _refusal(event: Any, version: str | None) -> str | None:
    """What is wrong with an event by itself."""
    if "error" in event:
        return f"failed while it was written: {str(event['error'])[:300]}"
    inside = (event.get("motet") or {}).get("adapter")
    if inside is not None and inside != version:
        return f"the header names {version}, the body {inside}"
    return None


def _said(response: httpx.Response) -> str:
    """The message of an OpenAI-shaped error, or what came instead."""
    try:
        said = str(response.json()["error"]["message"])
    except (ValueError, LookupError, TypeError):
        said = response.text
    return " ".join(said.split())[:500]
