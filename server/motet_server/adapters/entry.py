"""One version of an adapter as a server knows it, and its number in the engine."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class State(Enum):
    """Where a version stands."""

    AVAILABLE = "available"
    WAITING = "waiting"
    LOADING = "loading"
    LOADED = "loaded"
    UNLOADING = "unloading"
    REFUSED = "refused"


@dataclass(eq=False, slots=True)
class Entry:
    """One version of an adapter, as the shelf knows it.

    Attributes:
        name: the adapter's.
        version: its content hash.
        kind: what it was trained as; ``reward`` answers nothing but rewards.
        source: what the engine needs to load it; the shelf doesn't look at it.
        state: where it stands.
        reason: why it is refused.
        users: requests that read it now, and moves that wait for it.
        asked_at: when somebody last asked for this very version, for which it may outstay its name.
        used: when it was last used, by the shelf's clock.
        loaded_at: when the engine took it, in seconds since 1970.
        load_seconds: how long the engine took over it.
        dropped: it isn't in the store any more.
        spare: a name waits to move to it, for which the engine may hold one more.
        task: loads it.
        lock: held while it is loaded or unloaded.
    """

    name: str
    version: str
    kind: str
    source: Any
    state: State = State.AVAILABLE
    reason: str | None = None
    users: int = 0
    asked_at: float | None = None
    used: float = 0.0
    loaded_at: float | None = None
    load_seconds: float | None = None
    dropped: bool = False
    spare: bool = False
    task: asyncio.Task[None] | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def reference(self) -> str:
        """``NAME@VERSION``."""
        return f"{self.name}@{self.version}"

    @property
    def number(self) -> int:
        """The engine's number for it."""
        return number_of(self.reference)


def number_of(reference: str) -> int:
    """The engine's number for ``NAME@VERSION``: 31 bits of its hash, the same in every process, never 0."""
    return (int.from_bytes(hashlib.sha256(reference.encode()).digest()[:4]) & 0x7FFF_FFFF) or 1
