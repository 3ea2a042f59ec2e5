"""A small OpenAI endpoint on loopback whose speed and answers are known: real HTTP, no model."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route


@dataclass
class Fake:
    """What the endpoint does with a request's body, and what it has seen."""

    seconds: Callable[[dict[str, Any]], float] = lambda body: 0.0
    """How long it thinks."""
    reply: Callable[[dict[str, Any]], str] = lambda body: "words"
    tokens: Callable[[dict[str, Any]], int] = lambda body: int(body["max_tokens"])
    """How many tokens it says it has generated."""
    contrasts: bool = True
    """Whether it knows contrast, as motet does; others ignore the field."""
    gathers: int = 0
    """Until it has once had so many requests at once, it keeps each for five seconds: who asks them together is
    seen to do so on a slow machine too."""
    status: int = 200
    models: tuple[str, ...] = ("fake",)
    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    """Requests, in the order they came."""
    busiest: int = 0
    """The most requests it has had at once."""
    _busy: int = 0

    async def answer(self, request: Request) -> Response:
        """A chat or text completion."""
        body = await request.json()
        self.bodies.append(body)
        if self.status != 200:
            return JSONResponse({"error": {"message": "the fake refuses"}}, status_code=self.status)
        await self._think(body)
        text = self.reply(body)
        chat = "messages" in body
        payload: dict[str, Any] = {
            "choices": [{"message": {"content": text}} if chat else {"text": text}],
            "usage": {"prompt_tokens": 3, "completion_tokens": self.tokens(body)},
        }
        if self.contrasts and body.get("contrast"):
            applied = body["contrast"] if isinstance(body["contrast"], dict) else {"strength": 0.5}
            payload["motet"] = {"contrast": applied}
        return JSONResponse(payload)

    async def _think(self, body: dict[str, Any]) -> None:
        self._busy += 1
        self.busiest = max(self.busiest, self._busy)
        deadline = time.monotonic() + 5
        while self.busiest < self.gathers and time.monotonic() < deadline:
            await asyncio.sleep(0.005)
        await asyncio.sleep(self.seconds(body))
        self._busy -= 1

    async def list_models(self, request: Request) -> JSONResponse:
        """The model list."""
        return JSONResponse({"data": [{"id": name} for name in self.models]})

    def routes(self) -> list[Route]:
        """What it can be asked."""
        return [
            Route("/v1/models", self.list_models),
            Route("/v1/completions", self.answer, methods=["POST"]),
            Route("/v1/chat/completions", self.answer, methods=["POST"]),
        ]


@contextmanager
def running(fake: Fake, port: int = 0) -> Iterator[Fake]:
    """`fake` on a port of 127.0.0.1, a free one unless given, its address in `fake.url`."""
    app = Starlette(routes=fake.routes())
    listener = socket.create_server(("127.0.0.1", port))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    deadline = time.monotonic() + 30
    while not server.started:
        if time.monotonic() > deadline:
            raise RuntimeError("the fake endpoint did not start")
        time.sleep(0.01)
    fake.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        yield fake
    finally:
        server.should_exit = True
        thread.join(timeout=30)
        listener.close()
