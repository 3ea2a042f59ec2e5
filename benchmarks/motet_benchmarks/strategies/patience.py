"""Asking again where an endpoint had no time or was gone, and has answered nothing."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from motet_benchmarks.errors import Busy, Unreachable

#: Seconds, in all, for which a request is asked again; the first wait where the endpoint wishes for none, which doubles
#: each time; the longest wait, whatever it wishes for.
SECONDS, FIRST_WAIT, LONGEST_WAIT = 120.0, 1.0, 60.0

#: What an endpoint answers that has too much to do.
_CROWDED = frozenset({"429", "503"})

T = TypeVar("T")


@dataclass
class Patience:
    """How long requests are asked again, and how often they had to be.

    Attributes:
        seconds: for each request; without any it is asked once.
        sleep: waits so many seconds.
        tried: how often which kind of trouble was waited for.
    """

    seconds: float = field(default_factory=lambda: SECONDS)
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    tried: Counter[str] = field(default_factory=Counter)

    async def ask(self, job: Callable[[], Awaitable[T]]) -> T:
        """What `job` gives, once it does. Raises its last Busy or Unreachable, and at once whatever else it raises."""
        clock = asyncio.get_running_loop().time
        end, wait = clock() + self.seconds, FIRST_WAIT
        while True:
            try:
                return await job()
            except (Busy, Unreachable) as problem:
                wished = problem.after if isinstance(problem, Busy) else None
                # More by chance, or all that were turned away together would come back together.
                pause = min(LONGEST_WAIT, wait if wished is None else wished) + random.uniform(0, FIRST_WAIT)
                if clock() + pause > end:
                    raise
                self.tried[str(problem.status) if isinstance(problem, Busy) else "no connection"] += 1
            await self.sleep(pause)
            wait *= 2

    def remark(self) -> str | None:
        """What a user should know of it; None where all went well."""
        if not self.tried:
            return None
        told = ", ".join(f"{kind} ({count} times)" for kind, count in self.tried.items())
        hint = "; a lower --concurrency may spare the waiting" if _CROWDED & self.tried.keys() else ""
        return f"some requests had to be asked again: {told}{hint}"
