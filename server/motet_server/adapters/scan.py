"""What is published in the stores, and whether a server could serve it."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from motet_alignment.errors import StoreError
from motet_alignment.store import Adapter, AdapterStore, BaseFingerprint

#: Nanoseconds after which a folder's time of change tells it from any later one, whatever the file system's clock.
_SETTLED = 2_000_000_000


@dataclass(frozen=True, slots=True)
class Place:
    """Where adapters come from."""

    store: AdapterStore
    bundled: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """One name in the stores: its versions by reference, oldest first, and the reference of the current one."""

    place: Place
    versions: Mapping[str, Adapter]
    current: str | None = None
    problem: str | None = None


class Scanner:
    """Looks at the stores; a name whose folder hasn't changed isn't read again."""

    def __init__(self, places: Sequence[Place]) -> None:
        self.places = tuple(places)
        self._known: dict[tuple[Path, str], tuple[int, Found]] = {}
        self._seen: set[Path] = set()

    def scan(self) -> dict[str, Found]:
        """What is published, by name; a name in two places is the first one's."""
        found: dict[str, Found] = {}
        for place in self.places:
            root = place.store.root
            if root in self._seen and not root.is_dir():
                raise StoreError(f"{root} is gone; what was published there stays as it is")
            self._seen |= {root} if root.is_dir() else set()
            for name in place.store.names():
                if name not in found:
                    found[name] = self._look(place, name)
        return found

    def _look(self, place: Place, name: str) -> Found:
        key = place.store.root, name
        try:
            stamp = (place.store.root / name).stat().st_mtime_ns
            known = self._known.get(key)
            if known is not None and known[0] == stamp:
                return known[1]
            found = _read(place, name)
        except (StoreError, OSError) as error:
            return Found(place, {}, problem=str(error))
        if time.time_ns() - stamp > _SETTLED:
            self._known[key] = stamp, found
        return found


def _read(place: Place, name: str) -> Found:
    versions = {adapter.reference: adapter for adapter in place.store.versions(name)}
    current = place.store.current(name)
    if current is None:
        return Found(place, versions)
    reference = f"{name}@{current}"
    problem = None
    if reference not in versions:
        problem = place.store.damaged(name).get(current, f"{reference} isn't there")
    return Found(place, versions, reference, problem)


def unfit(
    adapter: Adapter,
    base: BaseFingerprint,
    max_rank: int,
    taken: Collection[str],
    no_rewards: str | None = None,
) -> str | None:
    """Why a server can't serve an adapter, as far as its manifest tells; its files are checked at loading.

    Args:
        adapter: as it is published.
        base: the server's model.
        max_rank: the largest rank that it takes.
        taken: names that mean something else on it.
        no_rewards: why its engine can't score, if it can't.
    """
    manifest = adapter.manifest
    if manifest.kind == "reward" and no_rewards is not None:
        return f"rewards can't be scored on this server's model: {no_rewards}"
    if manifest.name in taken:
        return "a model of this server has this name; publish it under another"
    different = manifest.base.differences(base, template=manifest.chat_template is None)
    if different:
        return f"it was trained on {manifest.base.name}; this server's {' and '.join(different)} differ"
    if manifest.rank > max_rank:
        return f"it is of rank {manifest.rank}; start the server with --max-lora-rank {manifest.rank}"
    return None
