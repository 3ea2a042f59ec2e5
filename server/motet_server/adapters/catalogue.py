"""Which versions of which adapters there are, and which of them a name means now."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from motet_server.adapters.entry import Entry, State
from motet_server.adapters.errors import NoVersionError, RefusedError, UnknownAdapterError


class Catalogue:
    """Adapters by name, and their versions.

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.current: dict[str, str] = {}
        self._clock = clock
        self._names: dict[str, dict[str, Entry]] = {}
        self._numbers: dict[int, str] = {}

    def entries(self) -> list[Entry]:
        """Every version, in the order in which they came."""
        return [entry for versions in self._names.values() for entry in versions.values()]

    def names(self) -> list[str]:
        """The names that answer requests, or say why not."""
        return list(self._names)

    def current_entry(self, name: str) -> Entry | None:
        """The version that a name means now."""
        reference = self.current.get(name)
        return None if reference is None else self._names[name].get(reference)

    def entry(self, reference: str) -> Entry | None:
        """The version called ``NAME@VERSION`` in full."""
        return self._names.get(reference.partition("@")[0], {}).get(reference)

    def knows(self, asked: str) -> bool:
        """Whether ``NAME`` or ``NAME@VERSION`` is an adapter's, served or refused."""
        return asked.partition("@")[0] in self._names

    def find(self, asked: str) -> Entry:
        """The version that ``NAME`` or ``NAME@VERSION`` means now; a version may be cut to its first 6 characters.

        Raises:
            UnknownAdapterError: there is no adapter of this name.
            NoVersionError: there is, but not this version.
            RefusedError: there is, but it can't be served; says why.
        """
        name, at, version = asked.partition("@")
        versions = [entry for entry in self._names.get(name, {}).values() if not entry.dropped]
        if not versions:
            raise UnknownAdapterError(name)
        if not at:
            meant = self.current_entry(name)
            if meant is None:
                for entry in versions:
                    if entry.reason:
                        raise RefusedError(entry.reference, entry.reason)
                raise NoVersionError(name, None, [entry.version for entry in versions])
            entry = meant
        else:
            found = [
                entry
                for entry in versions
                if entry.version == version or (len(version) >= 6 and entry.version.startswith(version))
            ]
            if len(found) != 1:
                raise NoVersionError(name, version, [entry.version for entry in versions])
            entry = found[0]
        if entry.state is State.REFUSED:
            raise RefusedError(entry.reference, str(entry.reason))
        return entry

    def stock(self, name: str, version: str, kind: str, source: Any, refused: str | None = None) -> Entry:
        """Notes a published version, with the reason why it can't be served if it can't.

        A version whose number in the engine belongs to another one is refused: its requests would get the other's
        weights.
        """
        versions = self._names.setdefault(name, {})
        entry = versions.get(f"{name}@{version}")
        if entry is None:
            entry = Entry(name, version, kind, source, used=self._clock())
            versions[entry.reference] = entry
        other = self._numbers.setdefault(entry.number, entry.reference)
        if other != entry.reference:
            refused = (
                f"its number in the engine, {entry.number}, is that of {other}; publish it under another name"
            )
        entry.dropped = False
        if entry.state in (State.AVAILABLE, State.REFUSED):
            entry.source = source
            entry.state, entry.reason = (State.REFUSED, refused) if refused else (State.AVAILABLE, None)
        return entry

    def introduce(self, entry: Entry) -> None:
        """Lets a name that meant nothing mean a version at once, to be loaded when it is asked for."""
        self.current.setdefault(entry.name, entry.reference)

    def forget(self, entry: Entry) -> None:
        """Drops a version that nobody reads and the engine doesn't hold."""
        # Its number stays taken: the engine may still have something under it.
        versions = self._names.get(entry.name, {})
        if versions.get(entry.reference) is entry:
            del versions[entry.reference]
        if not versions:
            self._names.pop(entry.name, None)
