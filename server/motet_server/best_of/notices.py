"""A stream that stays alive while candidates run: comments keep its connection, notices tell the best so far."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from dataclasses import dataclass
from typing import Any

#: What keeps a connection open and says nothing; clients of server-sent events skip it.
COMMENT = ": candidates are running\n\n"

#: Seconds of silence before the first comment, by when a request that can't be honoured has been refused, and between
#: later ones; proxies close a silent connection after 30 or 60.
FIRST, BETWEEN = 1.0, 5.0


@dataclass(frozen=True, slots=True)
class Notice:
    """The best candidate so far of one prompt."""

    request_id: str
    prompt: int
    index: int
    text: str
    score: float

    def payload(self, kind: str, model: str) -> dict[str, Any]:
        """A chunk without choices, which clients of ours look into and others skip as they skip the usage's."""
        best = {"prompt": self.prompt, "index": self.index, "text": self.text, "score": self.score}
        return {
            "id": self.request_id,
            "object": kind,
            "created": int(time.time()),
            "model": model,
            "choices": [],
            "motet": {"best_of": {"provisional": best}},
        }


class Notices:
    """Notices on their way from the contest to the stream; never blocks who puts one in."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Notice] = asyncio.Queue()

    def put(self, notice: Notice) -> None:
        """Hands one over."""
        self._queue.put_nowait(notice)

    async def get(self) -> Notice:
        """Waits for one."""
        return await self._queue.get()

    def waiting(self) -> list[Notice]:
        """Those that are there."""
        notices = []
        while not self._queue.empty():
            notices.append(self._queue.get_nowait())
        return notices


async def kept_alive(chunks: AsyncIterable[Any], notices: Notices | None) -> AsyncIterator[Any]:
    """``chunks`` with comments in their silences, and notices as soon as there are any."""
    iterator = aiter(chunks)
    patience = FIRST
    tasks: list[asyncio.Task[Any]] = []
    try:
        chunk: asyncio.Task[Any] = asyncio.ensure_future(anext(iterator, None))
        notice = None if notices is None else asyncio.ensure_future(notices.get())
        tasks = [chunk] if notice is None else [chunk, notice]
        while True:
            await asyncio.wait(tasks, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            if notices is not None and notice is not None and notice.done():
                yield notice.result()
                for more in notices.waiting():
                    yield more
                notice = asyncio.ensure_future(notices.get())
                tasks = [chunk, notice]
            elif chunk.done():
                if (result := chunk.result()) is None:
                    return
                yield result
                chunk = asyncio.ensure_future(anext(iterator, None))
                tasks = [chunk] if notice is None else [chunk, notice]
            else:
                yield COMMENT
                patience = BETWEEN
    finally:
        for task in tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)
        if isinstance(iterator, AsyncGenerator):
            await iterator.aclose()
