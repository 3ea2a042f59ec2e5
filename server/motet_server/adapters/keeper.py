"""Keeps a shelf in step with the stores: what is published is checked and stocked, names move, what is removed goes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from watchfiles import Change, awatch

from motet_alignment.store import Adapter
from motet_server import metrics
from motet_server.adapters.engine import Source, VllmEngine
from motet_server.adapters.entry import Entry, State
from motet_server.adapters.errors import AdapterRequestError, RefusedError
from motet_server.adapters.scan import Found, Place, Scanner
from motet_server.adapters.shelf import Shelf

_LOG = logging.getLogger(__name__)

#: Seconds after which the stores are looked at although nothing was heard of them: network file systems don't tell.
RESCAN = 5.0

#: Milliseconds in which changes are collected before they are told; publishing is one rename and one of the alias.
_DEBOUNCE, _STEP = 200, 20


class Keeper:
    """Follows the stores for one server process.

    Args:
        shelf: what requests are answered from.
        engine: the shelf's.
        places: the stores.
        refused: says why this server can't serve an adapter; None where it can.
    """

    def __init__(
        self,
        shelf: Shelf,
        engine: VllmEngine,
        places: Sequence[Place],
        refused: Callable[[Adapter], str | None],
    ) -> None:
        self.shelf = shelf
        #: What is wrong with a name or its moving, by name.
        self.problems: dict[str, str] = {}
        self._engine = engine
        self._scanner = Scanner(places)
        self._refused = refused
        self._turn = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Loads what the names mean now, as far as there is room, and begins to watch."""
        await self.sync()
        self._task = asyncio.create_task(self._follow(), name="motet-adapters")

    async def sync(self) -> None:
        """Brings the shelf up to what the stores hold now; returns when that is what requests get."""
        async with self._turn:
            found = await asyncio.to_thread(self._scanner.scan)
            self.problems = {name: there.problem for name, there in found.items() if there.problem}
            for name, there in found.items():
                for adapter in there.versions.values():
                    self._stock(adapter, there.place.bundled)
                if there.current is None and not there.problem:
                    self.shelf.unname(name)
            for known in self.shelf.entries():
                at = found.get(known.name)
                if at is None or (at.versions and known.reference not in at.versions):
                    self.shelf.drop(known)
            if self._task is None:
                for name, there in found.items():
                    await self._introduce(name, there)
            else:
                await asyncio.gather(*(self._move(name, there) for name, there in found.items()))
            metrics.set_loaded(sum(entry.state is State.LOADED for entry in self.shelf.entries()))

    def _stock(self, adapter: Adapter, bundled: bool) -> None:
        known = self.shelf.entry(adapter.reference)
        if known is not None and not known.dropped:
            return
        refused = self._refused(adapter)
        try:
            source = Source(adapter, bundled, adapter.chat_template)
        except OSError as error:
            source, refused = Source(adapter, bundled), f"its chat template can't be read: {error}"
        entry = self.shelf.stock(adapter.name, adapter.version, adapter.kind, source, refused)
        if entry.reason and self._task is not None:  # at the start they are shown
            metrics.count_refused()
            _LOG.warning("motet: adapter %s is refused: %s", entry.reference, entry.reason)

    async def _introduce(self, name: str, there: Found) -> None:
        """At the start, what there is no room for is loaded when it is asked for."""
        entry = None if there.current is None else self.shelf.entry(there.current)
        if self.shelf.has_room:
            await self._move(name, there)
        elif entry is not None and entry.state is not State.REFUSED:
            self.shelf.introduce(entry)

    async def _move(self, name: str, there: Found) -> None:
        if there.current is None or self.shelf.current.get(name) == there.current:
            return
        entry = self.shelf.entry(there.current)
        if entry is None:
            return  # the scan has said why
        if entry.state is State.REFUSED:
            self.problems[name] = f"{entry.reference} can't be served: {entry.reason}"
            return
        try:
            await self.shelf.move(entry)
        except AdapterRequestError as error:
            self.problems[name] = error.message
            if isinstance(error, RefusedError):
                metrics.count_refused()
            _LOG.warning("motet: %s stays where it is: %s", name, error.message)

    async def _follow(self) -> None:
        polling: bool | None = None  # by itself, and as WATCHFILES_FORCE_POLLING says
        while True:
            try:
                roots = [place.store.root for place in self._scanner.places if place.store.root.is_dir()]
                async for _ in awatch(
                    *roots,
                    watch_filter=_published(roots),
                    debounce=_DEBOUNCE,
                    step=_STEP,
                    rust_timeout=int(RESCAN * 1000),
                    yield_on_timeout=True,
                    force_polling=polling,
                    ignore_permission_denied=True,
                ):
                    await self._look()
            except (OSError, RuntimeError) as error:
                # A store that was removed, or more folders than the system watches for one user.
                _LOG.warning("motet: the adapters' stores can't be watched (%s); they are polled", error)
                polling = True
                await asyncio.sleep(RESCAN)
                await self._look()

    async def _look(self) -> None:
        try:
            await self.sync()
            await self.shelf.tidy()
            await self._engine.let_go()
        except Exception as error:  # noqa: BLE001 (a broken look must not be the last one)
            _LOG.error("motet: looking at the adapters failed: %s: %s", type(error).__name__, error)


def listed(entry: Entry, shelf: Shelf) -> dict[str, object]:
    """A version as GET /v1/adapters shows it."""
    return {
        "version": entry.version,
        "reference": entry.reference,
        "number": entry.number,
        "kind": entry.kind,
        "created": entry.source.adapter.manifest.created,
        "current": shelf.current.get(entry.name) == entry.reference,
        "state": entry.state.value,
        "reason": entry.reason or shelf.stuck.get(entry.reference),
        "pinned": shelf.pinned(entry),
        "in_flight": entry.users,
        "loaded_at": None if entry.loaded_at is None else int(entry.loaded_at),
        "load_seconds": None if entry.load_seconds is None else round(entry.load_seconds, 4),
        "removed": entry.dropped,
    }


def _published(roots: Sequence[Path]) -> Callable[[Change, str], bool]:
    """Whether a change is one of published versions: not of what is being written, served or locked."""

    def published(_change: Change, path: str) -> bool:
        for root in roots:
            if Path(path).is_relative_to(root):
                return not any(part.startswith(".") for part in Path(path).relative_to(root).parts)
        return True

    return published
