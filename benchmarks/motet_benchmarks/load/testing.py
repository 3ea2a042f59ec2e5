"""A streaming server that serves only so many requests at a time, and fails those that it is told to: no model."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from motet_benchmarks.strategies.testing import StrategiesFake


@dataclass
class QueueingFake(StrategiesFake):
    """Lets requests wait for a place.

    Attributes:
        places: requests that it thinks about at once.
        ill: which requests it answers with 500, the first being 1.
        asked: how many there were.
    """

    places: int = 1000
    ill: frozenset[int] = frozenset()
    asked: int = 0
    _free: asyncio.Semaphore | None = field(default=None, repr=False)

    async def answer(self, request: Request) -> Response:
        """A chat completion, once there is a place."""
        if self._free is None:
            self._free = asyncio.Semaphore(self.places)
        self.asked += 1
        if self.asked in self.ill:
            return JSONResponse({"error": {"message": "the fake is ill"}}, status_code=500)
        await request.body()  # of who hangs up while it waits, nothing could be read afterwards
        async with self._free:
            return await super().answer(request)
