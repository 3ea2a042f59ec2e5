"""What lm_eval's OpenAI client talks to: a chat endpoint on this machine that gives the texts it is told to.

lm_eval sends no fields but its own and keeps an answer's text alone. So its requests come here, where the strategy's
fields are added, exactly and whatever version of lm_eval asks, and where it is seen what an answer has cost.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from motet_benchmarks.endpoint import CHAT
from motet_benchmarks.errors import BenchmarkError, Refused

#: Gives the text that a request is answered with. Raises BenchmarkError.
Answering = Callable[[dict[str, Any]], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Proxy:
    """Where the proxy is reached, and what has gone wrong behind it."""

    url: str
    """Of chat completions."""
    failed: asyncio.Future[None]
    """Raises the first BenchmarkError of an answer; never done otherwise."""


@asynccontextmanager
async def proxy(answering: Answering) -> AsyncIterator[Proxy]:
    """A chat endpoint on a free port of 127.0.0.1, under a path that nobody can guess.

    Others on this machine could ask it otherwise, and the endpoint behind it may be paid for.
    """
    failed = asyncio.get_running_loop().create_future()

    async def answer(request: Request) -> JSONResponse:
        try:
            text = await answering(await request.json())
        except BenchmarkError as error:
            if not failed.done():
                failed.set_exception(error)
            status = error.status if isinstance(error, Refused) else 502
            return JSONResponse({"error": {"message": str(error)}}, status_code=status)
        # With its index: lm_eval takes an answer without it for an empty one.
        message = {"role": "assistant", "content": text}
        return JSONResponse({"object": "chat.completion", "choices": [{"index": 0, "message": message}]})

    path = f"/{secrets.token_urlsafe(16)}{CHAT}"
    app = Starlette(routes=[Route(path, answer, methods=["POST"])])
    listener = socket.create_server(("127.0.0.1", 0))
    server = _Server(uvicorn.Config(app, log_level="error", lifespan="off"))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield Proxy(f"http://127.0.0.1:{listener.getsockname()[1]}{path}", failed)
    finally:
        server.should_exit = server.force_exit = True
        await serving
        listener.close()
        if failed.done():
            failed.exception()  # whoever waited for it has it
        failed.cancel()


class _Server(uvicorn.Server):
    """Leaves the signals to the benchmark, of which it is a part."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
