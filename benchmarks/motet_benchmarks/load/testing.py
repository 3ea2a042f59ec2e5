"""A streaming server that serves only so many requests at a time, and fails those that it is told to: no model."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import Response

from motet_benchmarks.strategies.testing import StrategiesFake


@dataclass
class QueueingFake(StrategiesFake):
    """Lets requests wait for a place.

    Attributes:
        places: requests that it thinks about at once.
        ill: of the requests so far, which ones it answers with 500, the first being 1.
    """

    places: int = 1000
    ill: frozenset[int] = frozenset()
    _free: asyncio.Semaphore | None = field(default=None, repr=False)

    async def answer(self, request: Request) -> Response:
        """A chat completion, once there is a place."""
        if self._free is None:
            self._free = asyncio.Semaphore(self.places)
        async with self._free:
            self.status = 500 if len(self.bodies) + 1 in self.ill else 200
            return await super().answer(request)
