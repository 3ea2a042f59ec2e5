"""What one HTTP request reads of the shelf, from its first look until its last byte is sent or its client has left."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import ContextVar, copy_context
from typing import Any, TypeVar

from starlette.datastructures import MutableHeaders
from starlette.types import Message, Send

from motet_server.adapters.entry import Entry
from motet_server.adapters.errors import AdapterRequestError
from motet_server.adapters.shelf import Shelf

#: Where a request's leases stand in its ASGI scope.
SCOPE_KEY = "motet.leases"

#: The response header that names the version.
HEADER = "X-Motet-Adapter"

#: The chat template that the request's adapter brings; vLLM's rendering asks for it where the model's own would come.
chat_template: ContextVar[str | None] = ContextVar("motet_chat_template", default=None)

_Result = TypeVar("_Result")


async def in_template(template: str | None, work: Coroutine[Any, Any, _Result]) -> _Result:
    """What ``work`` gives, messages in it rendered by ``template`` (or the server's), whoever answers the request."""
    context = copy_context()
    context.run(chat_template.set, template)
    return await asyncio.get_running_loop().create_task(work, context=context)


class WrongKindError(AdapterRequestError):
    """A reward adapter asked for text, or another for rewards."""


class Leases:
    """The versions that one request reads.

    Attributes:
        shelf: where they are from.
        entries: those that answer it.
        judges: those that judge its answer.
    """

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf
        self.entries: list[Entry] = []
        self.judges: list[Entry] = []

    async def take(self, asked: str, *, rewards: bool = False) -> Entry:
        """The version that ``asked`` means, loaded, and kept until ``close``.

        Args:
            asked: ``NAME`` or ``NAME@VERSION``.
            rewards: whether it is to score, rather than to write.

        Raises:
            AdapterRequestError: there is none, it can't be served, it is of the other kind, or there is no room.
        """
        if (self.shelf.find(asked).kind == "reward") != rewards:
            raise WrongKindError(
                "model",
                f"{asked} writes text and gives no rewards; POST it to /v1/chat/completions"
                if rewards
                else f"{asked} is a reward adapter, which writes no text; POST conversations to /v1/rewards",
            )
        entry = await self.shelf.acquire(asked)
        self.entries.append(entry)
        chat_template.set(entry.source.chat_template)
        return entry

    async def borrow(self, asked: str) -> Entry:
        """The same of one that judges the answer or contradicts it: no header names it, its template stays its own.

        Raises:
            AdapterRequestError: there is none, it can't be served, or there is no room.
        """
        entry = await self.shelf.acquire(asked)
        self.judges.append(entry)
        return entry

    def telling(self, send: Send) -> Send:
        """``send``, with a header that names the versions that answer."""

        async def tell(message: Message) -> None:
            if message["type"] == "http.response.start" and self.entries:
                headers = MutableHeaders(scope=message)
                headers[HEADER] = ", ".join(entry.reference for entry in self.entries)
            await send(message)

        return tell

    def close(self) -> None:
        """Ends them all."""
        for entries in (self.entries, self.judges):
            while entries:
                self.shelf.release(entries.pop())


def leases_of(scope: Any) -> Leases | None:
    """A request's leases; None on a server without adapters."""
    leases = scope.get(SCOPE_KEY)
    return leases if isinstance(leases, Leases) else None
