"""A server of versions whose answers are known, and which can be told to make every mistake: no HTTP port, no model."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from motet_benchmarks.adapters.answers import Answer, Answers
from motet_benchmarks.adapters.asking import HEADER
from motet_benchmarks.adapters.samples import Swap

NAME, BASE_NAME = "fake", "base"
#: Of every answer.
TOKENS = 8


def answers(versions: int, prompts: int = 2) -> Answers:
    """Of the base and of `versions` versions: no two alike."""
    voices = (None, *range(versions))
    return {
        voice: [Answer((place, *[100 + number] * (TOKENS - 1)), TOKENS) for place in range(prompts)]
        for number, voice in enumerate(voices)
    }


@dataclass
class FakeServer:
    """Serves a version from a while after its publication on, and publishes: it is its own store.

    Attributes:
        answers: by version.
        delay: seconds from published to served.
        bend: given a request's number, its body and the version that should answer, the one that does; -1 for a status
            of 500, -2 for an answer that ends too soon.
        mislabel: given the same, the version whose name stands in the header.
        held: versions that the listing says are loaded.
        metrics: tokens that its prefix cache has had, and that were looked for; it has no metrics if None.
    """

    answers: Answers
    delay: float = 0.0
    bend: Callable[[int, dict[str, Any], int | None], int | None] = lambda number, body, version: version
    mislabel: Callable[[int, dict[str, Any], int | None], int | None] = lambda number, body, version: version
    held: int = 2
    metrics: tuple[float, float] | None = None
    bodies: list[dict[str, Any]] = field(default_factory=list)
    published: list[float] = field(default_factory=list)
    tidied: int = 0

    def publish(self, number: int) -> Swap:
        """See ``Publisher``."""
        begun = time.monotonic()
        if number != len(self.published):
            raise ValueError(f"version {number} comes after {len(self.published) - 1}")
        self.published.append(time.monotonic())
        return Swap(number, f"{NAME}@{number}", begun, self.published[-1])

    def tidy(self) -> None:
        """See ``Publisher``."""
        self.tidied += 1

    def transport(self) -> httpx.ASGITransport:
        """What an ``Asker`` is given instead of the network."""
        routes = [
            Route("/v1/completions", self._complete, methods=["POST"]),
            Route("/v1/adapters", self._list),
            Route("/metrics", self._count),
        ]
        return httpx.ASGITransport(Starlette(routes=routes))

    def current(self) -> int:
        """The version that the name means now."""
        now = time.monotonic()
        return max(
            number for number, moment in enumerate(self.published) if not number or moment + self.delay <= now
        )

    async def _complete(self, request: Request) -> Response:
        body = await request.json()
        number = len(self.bodies)
        self.bodies.append(body)
        name, _, pinned = body["model"].partition("@")
        right = None if name == BASE_NAME else int(pinned) if pinned else self.current()
        version = self.bend(number, body, right)
        if version == -1:
            return JSONResponse({"error": {"message": "the fake is ill"}}, status_code=500)
        said = self.mislabel(number, body, right if version == -2 else version)
        headers = {} if said is None else {HEADER: f"{NAME}@{said}"}
        tokens = list(self.answers[right if version == -2 else version][body["prompt"][0]].tokens)
        tokens = tokens[: body["max_tokens"] - (version == -2)]

        async def events() -> AsyncIterator[str]:
            for token in tokens:
                await asyncio.sleep(0.001)
                yield f"data: {json.dumps({'choices': [{'text': '', 'token_ids': [token]}]})}\n\n"
            yield "data: [DONE]\n\n"

        return StreamingResponse(events(), headers=headers, media_type="text/event-stream")

    async def _list(self, request: Request) -> JSONResponse:
        states = ["loaded"] * self.held + ["available"]
        adapter = {"name": NAME, "versions": [{"state": state} for state in states]}
        return JSONResponse({"data": [adapter], "max_loaded": 4, "store": "/nowhere"})

    async def _count(self, request: Request) -> Response:
        if self.metrics is None:
            return Response(status_code=404)
        labels = '{engine="0",model_name="fake"}'
        lines = [
            f"vllm:prefix_cache_{name}_total{labels} {count}"
            for name, count in zip(("hits", "queries"), self.metrics, strict=True)
        ]
        return Response(
            "\n".join(["# HELP vllm:prefix_cache_hits_total Tokens.", *lines, ""]), media_type="text/plain"
        )
