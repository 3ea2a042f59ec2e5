"""The adapter store: a folder of named, versioned adapters that only ever holds whole ones."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from motet_alignment.errors import Refused, StoreError
from motet_alignment.store import lookup
from motet_alignment.store.adapter import Adapter
from motet_alignment.store.alias import ALIAS, Alias, Move, read_alias, write_alias
from motet_alignment.store.check import verify_version
from motet_alignment.store.files import disk_errors, locked, sync_folder
from motet_alignment.store.manifest import KINDS, BaseFingerprint, Kind, Manifest, check_name, split_reference
from motet_alignment.store.publish import Story, build
from motet_alignment.store.staging import STAGING, staged, sweep

_LOCKS = ".locks"


def default_store() -> Path:
    """``$MOTET_HOME/adapters``; MOTET_HOME is ``~/.motet`` where it isn't set."""
    home = os.environ.get("MOTET_HOME")
    return (Path(home).expanduser() if home else Path.home() / ".motet") / "adapters"


class AdapterStore:
    """Adapters under ``root``, which is made by the first publication; reading writes nothing.

    ``root/NAME/VERSION`` is renamed into place when complete and never changed after that; ``root/NAME/alias.json``
    says which version NAME stands for. Any number of processes may publish, move names and read at the same time.
    """

    def __init__(self, root: Path) -> None:
        """Opens nothing; any path will do."""
        self.root = root.expanduser().absolute()

    def publish(
        self,
        folder: Path,
        *,
        name: str,
        kind: Kind,
        base: BaseFingerprint,
        base_folder: Path,
        parents: Iterable[str] = (),
        data: Iterable[Any] = (),
        settings: Mapping[str, Any] | None = None,
        metrics: Mapping[str, Any] | None = None,
        promote: bool = True,
    ) -> Adapter:
        """Makes the adapter that PEFT saved in ``folder`` a version of ``name``, and the current one if ``promote``.

        ``base`` is the fingerprint of the model in ``base_folder``, whose modules every matrix must fit. ``data``:
        DataFile or the same as a mapping. Publishing equal content again gives the version that is there, with the
        manifest it got then. Nothing is there before all of it is; a failure or a kill leaves nothing behind.

        Raises Refused for what an engine couldn't serve, NotFound for what isn't there, StoreError for the rest.
        """
        check_name(name)
        if kind not in KINDS:
            raise StoreError(f"kind is {kind!r}; it must be one of {', '.join(KINDS)}")
        story = Story(tuple(parents), tuple(data), settings or {}, metrics or {})
        with disk_errors(f"publishing {name}"), staged(self.root) as staging:
            manifest = build(
                staging, folder, name=name, kind=kind, base=base, base_folder=base_folder, story=story
            )
            with self._locked(name):
                home = self.root / name
                home.mkdir(exist_ok=True)
                new, alias = not (home / manifest.version).exists(), read_alias(home)
                try:
                    adapter = self._place(staging, home / manifest.version, manifest)
                    if promote:
                        write_alias(home, alias.promoted(adapter.version, "publish"))
                except BaseException:
                    self._undo(home, alias, home / manifest.version if new else None, staging)
                    raise
        return adapter

    def names(self) -> list[str]:
        """Names that have versions, in order. Raises StoreError."""
        return lookup.names(self.root)

    def versions(self, name: str) -> list[Adapter]:
        """The whole versions of ``name``, oldest first; ``damaged`` has the others. Raises NotFound, StoreError."""
        return lookup.look(self.root, name)[0]

    def damaged(self, name: str) -> dict[str, str]:
        """Version -> what is wrong, of the versions of ``name`` that can't be read. Raises NotFound, StoreError."""
        return lookup.look(self.root, name)[1]

    def get(self, reference: str) -> Adapter:
        """The current version of NAME, or NAME@VERSION, of which six digits are enough if only one begins so.

        Raises NotFound, Refused if it is damaged, StoreError if ``reference`` is no reference.
        """
        return lookup.get(self.root, reference)

    def current(self, name: str) -> str | None:
        """The version that ``name`` stands for; None if it stands for none. Raises StoreError, Refused."""
        return lookup.alias(self.root, name).current

    def history(self, name: str) -> tuple[Move, ...]:
        """The moves of ``name``, oldest first. Raises StoreError, Refused."""
        return lookup.alias(self.root, name).history

    def promote(self, reference: str) -> Adapter:
        """Makes NAME stand for the version; ``rollback`` undoes it. Raises NotFound, Refused, StoreError.

        A damaged ``alias.json`` is written anew, without what it stood for before.
        """
        name, _ = split_reference(reference)
        lookup.require(self.root, name)
        with disk_errors(f"promoting {reference}"), self._locked(name):
            adapter = self.get(reference)
            try:
                alias = read_alias(self.root / name)
            except Refused:
                alias = Alias()
            if (moved := alias.promoted(adapter.version, "promote")) != alias:
                write_alias(self.root / name, moved)
        return adapter

    def rollback(self, name: str) -> Adapter:
        """Makes ``name`` stand for what it stood for before; twice, for what came before that.

        ``promote`` undoes it. Raises Refused if no version was current before, NotFound, StoreError.
        """
        lookup.require(self.root, name)
        with disk_errors(f"rolling {name} back"), self._locked(name):
            alias = read_alias(self.root / name)
            try:
                moved = alias.rolled_back()
            except Refused as error:
                raise Refused(f"{name} can't go back: {error}") from None
            adapter = lookup.read(self.root, name, str(moved.current))
            write_alias(self.root / name, moved)
        return adapter

    def remove(self, reference: str, *, force: bool = False) -> str:
        """Removes NAME@VERSION, or NAME if it has a single version, damaged or not; NAME@VERSION of what went.

        The current version goes only as the last of its name, which then is no more, or by ``force``: NAME then stands
        for what it stood for before, or for the newest that is left. Raises Refused, NotFound, StoreError.
        """
        name, asked = split_reference(reference)
        lookup.require(self.root, name)
        with disk_errors(f"removing {reference}"), staged(self.root) as staging, self._locked(name):
            versions = lookup.require(self.root, name)
            if asked is None and len(versions) > 1:
                raise Refused(
                    f"{name} has {len(versions)} versions; say which: {name}@VERSION, or all of them"
                )
            version = versions[0] if asked is None else lookup.resolve(self.root, name, asked)
            if len(versions) > 1 and version == read_alias(self.root / name).current and not force:
                raise Refused(
                    f"{name}@{version} is the current version; promote another first, or remove it by force"
                )
            self._take_away(name, [version], staging)
        return f"{name}@{version}"

    def remove_all(self, name: str) -> list[str]:
        """Removes ``name`` with all its versions, damaged ones too; which those were. Raises NotFound, StoreError."""
        lookup.require(self.root, name)
        with disk_errors(f"removing {name}"), staged(self.root) as staging, self._locked(name):
            versions = lookup.require(self.root, name)
            self._take_away(name, versions, staging)
        return versions

    def prune(self, name: str | None, keep: int) -> list[Adapter]:
        """Removes all but the newest ``keep`` versions of ``name`` (None: of every name); those that went.

        The current version and the one that a rollback would go back to always stay. What another adapter was trained
        from may go: every version is complete by itself. Raises NotFound, StoreError.
        """
        if keep < 1:
            raise StoreError(f"keep is {keep}; at least 1 version stays")
        gone: list[Adapter] = []
        for each in self.names() if name is None else [name]:
            lookup.require(self.root, each)
            with disk_errors(f"pruning {each}"), staged(self.root) as staging, self._locked(each):
                alias = read_alias(self.root / each)
                stays = {alias.current, *alias.before[-1:]}
                old = [adapter for adapter in self.versions(each)[:-keep] if adapter.version not in stays]
                self._take_away(each, [adapter.version for adapter in old], staging)
                gone += old
        return gone

    def verify(self, adapter: Adapter) -> None:
        """Reads every file of the version again. Raises Refused naming the file that isn't what was published."""
        with disk_errors(f"reading {adapter.reference}"):
            verify_version(adapter.path, adapter.manifest)

    def sweep(self) -> int:
        """Clears away what killed publishers left; how many rests that were. Publishing does it too."""
        if not (self.root / STAGING).is_dir():
            return 0
        with disk_errors("clearing the store"):
            return sweep(self.root)

    def _place(self, staging: Path, home: Path, manifest: Manifest) -> Adapter:
        if not home.exists():
            os.rename(staging, home)
            sync_folder(home.parent)
            sync_folder(self.root)
            return Adapter(manifest, home)
        try:
            there = lookup.read(self.root, manifest.name, manifest.version)
            verify_version(home, there.manifest)
        except Refused:
            # What is there was damaged since; the same content whole again is what its name promises.
            os.rename(home, staging.with_name("damaged"))
            return self._place(staging, home, manifest)
        if there.manifest.digest() != manifest.digest():
            raise StoreError(f"{manifest.reference} is taken by other content of the same short hash")
        return there

    def _undo(self, home: Path, alias: Alias, new: Path | None, staging: Path) -> None:
        """Published but not current is not what was asked for: all of it or nothing."""
        # The alias first: should the disk fail at that too, it stands for a version that is still there.
        if alias == Alias():
            (home / ALIAS).unlink(missing_ok=True)
        elif read_alias(home) != alias:
            write_alias(home, alias)
        if new is not None and new.exists():
            os.rename(new, staging.with_name("undone"))
        if not any(home.iterdir()):
            home.rmdir()

    def _take_away(self, name: str, versions: list[str], staging: Path) -> None:
        home = self.root / name
        if not set(lookup.version_names(self.root, name)) - set(versions):
            # The whole name at once, so that it never stands there without versions.
            os.rename(home, staging / name)
            sync_folder(self.root)
            return
        alias = read_alias(home)
        left = [adapter.version for adapter in self.versions(name) if adapter.version not in versions]
        before = [version for version in alias.before if version in left]
        # The alias moves first: a name never stands for a version that isn't there.
        moved = alias.without(versions, next(reversed(before or left), None))
        if moved != alias:
            write_alias(home, moved)
        for version in versions:
            os.rename(home / version, staging / version)
        sync_folder(home)

    def _locked(self, name: str) -> AbstractContextManager[None]:
        (self.root / _LOCKS).mkdir(exist_ok=True)
        return locked(self.root / _LOCKS / check_name(name))
