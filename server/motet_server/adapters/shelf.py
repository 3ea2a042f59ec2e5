"""Which versions of which adapters the engine holds, which of them a name means now, and who is still reading.

The core of hot loading, without HTTP, files or vLLM: it tells an ``Engine`` what to take and what to drop. A version is
loaded before its name moves to it; the one it replaces stays until its last reader has left, and is then unloaded.
Everything here runs on one event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from functools import partial
from typing import Protocol

from motet_server.adapters.catalogue import Catalogue
from motet_server.adapters.entry import Entry, State
from motet_server.adapters.errors import InUseError, NoRoomError, RefusedError

#: In these the engine holds a version's weights, or is about to.
_HELD = frozenset({State.LOADING, State.LOADED, State.UNLOADING})


class Engine(Protocol):
    """What the shelf needs of an engine."""

    async def load(self, entry: Entry) -> None:
        """Takes a version; a ``RefusedError`` says that it can't."""
        ...

    async def unload(self, entry: Entry) -> None:
        """Drops a version, for which no request is left."""
        ...


class Shelf(Catalogue):
    """The versions known to one server process, and those that its engine holds.

    Args:
        engine: takes and drops them.
        most: how many the engine may hold; one more while a name moves.
        patience: how many seconds a request waits for room.
        idle: after how many seconds without use a version that was asked for by its own name is unloaded.
        pins: names, or ``NAME@VERSION``, that are never unloaded to make room.
        loaded: called with each entry that the engine has taken.
        moved: called with each name that has moved from one version to another.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        most: int,
        patience: float = 60.0,
        idle: float = 600.0,
        pins: Collection[str] = (),
        loaded: Callable[[Entry], None] = lambda entry: None,
        moved: Callable[[str], None] = lambda name: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(clock)
        self.most = most
        self._engine = engine
        self._patience = patience
        self._idle = idle
        self._pins = frozenset(pins)
        self._loaded = loaded
        self._moved = moved
        self._queue: list[Entry] = []
        self._several = asyncio.Lock()
        self._change = asyncio.Event()
        self._work: set[asyncio.Task[None]] = set()
        #: What went wrong while unloading, by reference, until it goes right.
        self.stuck: dict[str, str] = {}

    def pinned(self, entry: Entry) -> bool:
        """Whether it stays, whoever needs room."""
        named = entry.name in self._pins and self.current.get(entry.name) == entry.reference
        return named or entry.reference in self._pins

    # What the store says

    def drop(self, entry: Entry) -> None:
        """Notes that a version has left the store: no new request gets it, and it goes with its last reader."""
        entry.dropped = True
        if self.current.get(entry.name) == entry.reference:
            del self.current[entry.name]
        self._settle(entry)

    def unname(self, name: str) -> None:
        """Notes that a name means none of its versions any more."""
        before = self.current_entry(name)
        if before is not None:
            del self.current[name]
            self._settle(before)

    @property
    def has_room(self) -> bool:
        """Whether the engine may take one more without dropping another."""
        return self._held() < self.most

    async def move(self, entry: Entry) -> None:
        """Lets a name mean one of its versions, once the engine holds it; the old one goes with its last reader.

        Raises:
            RefusedError: the engine doesn't take it, and the name stays where it is.
            NoRoomError: the versions in use left no room for it in time, and the name stays where it is.
        """
        if entry.state is State.REFUSED:
            raise RefusedError(entry.reference, str(entry.reason))
        entry.users += 1
        entry.spare = True
        self._tell()
        try:
            await self._ensure(entry)
            before = self.current_entry(entry.name)
            self.current[entry.name] = entry.reference
        finally:
            entry.spare = False
            self._leave(entry)
        if before is not None and before is not entry:
            self._moved(entry.name)
            self._settle(before)

    # What requests do

    async def acquire(self, asked: str) -> Entry:
        """The version that ``asked`` means now, loaded and kept until it is released.

        Raises:
            UnknownAdapterError, NoVersionError, RefusedError: as ``find`` does.
            NoRoomError: every version that the engine holds was in use for too long.
        """
        entry = self.find(asked)
        entry.users += 1
        if "@" in asked:
            entry.asked_at = self._clock()
        try:
            await self._ensure(entry)
        except BaseException:
            self._leave(entry)
            raise
        entry.used = self._clock()
        return entry

    @asynccontextmanager
    async def several(self, reference: str) -> AsyncIterator[None]:
        """Held by whoever takes more than one version, one after the other.

        Two that each held what the other waits for would wait in vain.

        Args:
            reference: the first of them.

        Raises:
            NoRoomError: others took theirs for too long.
        """
        try:
            async with asyncio.timeout(self._patience):
                await self._several.acquire()
        except TimeoutError:
            raise NoRoomError(reference, self.most, self._patience) from None
        try:
            yield
        finally:
            self._several.release()

    def release(self, entry: Entry) -> None:
        """Ends one ``acquire``."""
        entry.used = self._clock()
        self._leave(entry)

    async def put_away(self, entry: Entry) -> None:
        """Unloads a version once its last reader has left; it is loaded again when it is asked for.

        Raises:
            InUseError: it was in use for too long.
        """
        entry.asked_at = None
        try:
            async with asyncio.timeout(self._patience):
                while entry.users:
                    await self._change.wait()
                await self._unloaded(entry)
        except TimeoutError:
            raise InUseError(entry.reference, self._patience) from None

    # What time does

    async def tidy(self) -> None:
        """Unloads what was asked for by its version and hasn't been for long, and what couldn't be unloaded before."""
        now = self._clock()
        for entry in self.entries():
            if entry.asked_at is not None and now - entry.asked_at >= self._idle:
                entry.asked_at = None
            self._settle(entry)
        await self.settled()

    async def settled(self) -> None:
        """Waits until what is being unloaded is."""
        while self._work:
            await asyncio.gather(*self._work)

    # Inside

    def _held(self) -> int:
        return sum(entry.state in _HELD for entry in self.entries())

    def _leave(self, entry: Entry) -> None:
        entry.users -= 1
        if not entry.users and entry.state is State.WAITING and entry.task is not None:
            entry.task.cancel()  # it waits for room for nobody
        self._settle(entry)
        self._tell()

    def _tell(self) -> None:
        change, self._change = self._change, asyncio.Event()
        change.set()

    def _settle(self, entry: Entry) -> None:
        """Unloads and forgets a version that has no reason to stay."""
        if entry.users or self.current.get(entry.name) == entry.reference:
            return
        if entry.task is not None and not entry.task.done():
            return  # the engine may be about to take it
        if entry.dropped and entry.state in (State.AVAILABLE, State.REFUSED):
            self.forget(entry)
            self.stuck.pop(entry.reference, None)
        elif entry.state is State.LOADED and (
            entry.dropped or (entry.asked_at is None and not self.pinned(entry))
        ):
            self._start_unloading(entry)

    def _start_unloading(self, entry: Entry) -> asyncio.Task[None]:
        task = asyncio.create_task(self._unload(entry))
        self._work.add(task)
        task.add_done_callback(self._work.discard)
        return task

    async def _unloaded(self, entry: Entry) -> None:
        """Unloads a version; whoever gives up waiting for it must not leave it half unloaded."""
        await asyncio.shield(self._start_unloading(entry))

    async def _ensure(self, entry: Entry) -> None:
        while entry.state is not State.LOADED:
            task = entry.task
            if task is None or task.done():
                task = entry.task = asyncio.create_task(self._load(entry))
                task.add_done_callback(partial(self._loaded_or_not, entry))
            try:
                await asyncio.shield(task)  # one request's leaving must not end what others wait for
            except asyncio.CancelledError:
                this = asyncio.current_task()
                if not task.cancelled() or (this is not None and this.cancelling()):
                    raise
                # It was cancelled for want of readers just before this one came.

    def _loaded_or_not(self, entry: Entry, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            task.exception()  # is told to those who wait; with nobody left it is nobody's
        self._settle(entry)

    async def _load(self, entry: Entry) -> None:
        async with entry.lock:  # what is being unloaded is first unloaded
            if entry.state is State.LOADED or not entry.users:
                return  # the engine didn't drop it, or nobody waits any more
            start = time.perf_counter()
            try:
                entry.state = State.WAITING
                await self._room(entry)
                entry.state = State.LOADING
                await self._engine.load(entry)
                entry.state = State.LOADED
            except RefusedError as error:
                entry.state, entry.reason = State.REFUSED, error.reason
                raise
            finally:
                if entry.state not in (State.LOADED, State.REFUSED):
                    entry.state = State.AVAILABLE
                self._tell()
            entry.load_seconds, entry.loaded_at = time.perf_counter() - start, time.time()
        self._loaded(entry)

    async def _room(self, entry: Entry) -> None:
        """Waits until the engine may take one more, unloading idle ones; who came first goes first."""
        self._queue.append(entry)
        try:
            async with asyncio.timeout(self._patience):
                while True:
                    first = next((other for other in self._queue if not other.spare), entry)
                    if entry.spare or entry is first:
                        if self._held() < self.most + entry.spare:
                            return
                        victim = self._idle_one()
                        if victim is not None:
                            await self._unloaded(victim)
                            continue
                    await self._change.wait()
        except TimeoutError:
            raise NoRoomError(entry.reference, self.most, self._patience) from None
        finally:
            self._queue.remove(entry)

    def _idle_one(self) -> Entry | None:
        """The version to unload for another: nobody reads it; old ones first, then the one unused for longest."""
        idle = [
            entry
            for entry in self.entries()
            if entry.state is State.LOADED
            and not entry.users
            and not self.pinned(entry)
            and entry.reference not in self.stuck
        ]
        return min(
            idle,
            key=lambda entry: (self.current.get(entry.name) == entry.reference, entry.used),
            default=None,
        )

    async def _unload(self, entry: Entry) -> None:
        async with entry.lock:
            if entry.state is not State.LOADED or entry.users:
                return  # somebody has come meanwhile, or somebody else has unloaded it
            entry.state = State.UNLOADING
            try:
                await self._engine.unload(entry)
            except Exception as error:  # noqa: BLE001 (told by the listing, and tried again at the next tidying)
                entry.state = State.LOADED
                self.stuck[entry.reference] = f"{type(error).__name__}: {error}"
            else:
                entry.state, entry.loaded_at, entry.asked_at = State.AVAILABLE, None, None
                self.stuck.pop(entry.reference, None)
            finally:
                self._tell()
        if entry.state is State.AVAILABLE:
            self._settle(entry)
