"""The adapter store: a folder of named, versioned adapters that only ever holds whole ones."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from motet_alignment.errors import NotFound, Refused, StoreError
from motet_alignment.store.alias import ALIAS, Alias, Move, read_alias, write_alias
from motet_alignment.store.check import read_version, verify_version
from motet_alignment.store.engine_files import ENGINE, SCORE
from motet_alignment.store.files import disk_errors, locked, sync_folder
from motet_alignment.store.manifest import (
    KINDS,
    BaseFingerprint,
    Kind,
    Manifest,
    check_name,
    is_name,
    is_version,
    split_reference,
)
from motet_alignment.store.publish import TEMPLATE, Story, build
from motet_alignment.store.staging import staged, sweep

_LOCKS = ".locks"


@dataclass(frozen=True)
class Adapter:
    """One published version."""

    manifest: Manifest
    path: Path

    @property
    def name(self) -> str:
        """Its name, which other versions share."""
        return self.manifest.name

    @property
    def version(self) -> str:
        """The first 12 digits of its content's hash."""
        return self.manifest.version

    @property
    def kind(self) -> Kind:
        """What it was trained for."""
        return self.manifest.kind

    @property
    def reference(self) -> str:
        """``NAME@VERSION``."""
        return self.manifest.reference

    @property
    def engine_path(self) -> Path:
        """The folder that an engine may load: a plain LoRA, without a reward adapter's head."""
        return self.path / ENGINE if self.kind == "reward" else self.path

    @property
    def head_path(self) -> Path | None:
        """A reward adapter's head, the tensor ``score.weight`` of shape [1, hidden]; None for other kinds."""
        return self.path / ENGINE / SCORE if self.kind == "reward" else None

    @property
    def chat_template(self) -> str | None:
        """The text of its own chat template; None where the base's is used. Raises OSError."""
        return (self.path / TEMPLATE).read_text("utf-8") if self.manifest.chat_template else None


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
        """Names that have versions, in order."""
        with disk_errors("listing the store"):
            if not self.root.exists():
                return []
            return sorted(entry.name for entry in self.root.iterdir() if self._version_names(entry.name))

    def versions(self, name: str) -> list[Adapter]:
        """The whole versions of ``name``, oldest first; see ``damaged`` for the others. Raises NotFound."""
        found = self._require(name)
        adapters = [
            adapter for adapter in map(self._try_read, self._paths(name, found)) if adapter is not None
        ]
        return sorted(adapters, key=lambda adapter: (adapter.manifest.created, adapter.version))

    def damaged(self, name: str) -> dict[str, str]:
        """Version -> what is wrong, of the versions of ``name`` that can't be read. Raises NotFound."""
        reasons: dict[str, str] = {}
        for path in self._paths(name, self._require(name)):
            try:
                read_version(path)
            except NotFound:
                continue  # removed this moment
            except Refused as error:
                reasons[path.name] = str(error)
        return reasons

    def get(self, reference: str) -> Adapter:
        """The current version of NAME, or NAME@VERSION, of which six digits are enough if only one begins so.

        Raises NotFound, Refused if it is damaged, StoreError if ``reference`` is no reference.
        """
        name, asked = split_reference(reference)
        version = self._resolve(name, asked)
        try:
            return self._read(self.root / name / version)
        except NotFound:
            if asked is not None:
                raise
            # Between reading the alias and the version it named, somebody moved the one and removed the other.
            return self._read(self.root / name / self._resolve(name, None))

    def current(self, name: str) -> str | None:
        """The version that ``name`` stands for; None if it stands for none. Raises StoreError, Refused."""
        return self._alias(name).current

    def history(self, name: str) -> tuple[Move, ...]:
        """The moves of ``name``, oldest first. Raises StoreError, Refused."""
        return self._alias(name).history

    def promote(self, reference: str) -> Adapter:
        """Makes NAME stand for the version; ``rollback`` undoes it. Raises NotFound, Refused, StoreError."""
        name, _ = split_reference(reference)
        self._require(name)
        with disk_errors(f"promoting {reference}"), self._locked(name):
            adapter = self.get(reference)
            alias = read_alias(self.root / name)
            if (moved := alias.promoted(adapter.version, "promote")) != alias:
                write_alias(self.root / name, moved)
        return adapter

    def rollback(self, name: str) -> Adapter:
        """Makes ``name`` stand for what it stood for before; twice, for what came before that.

        ``promote`` undoes it. Raises Refused if no version was current before, NotFound, StoreError.
        """
        self._require(check_name(name))
        with disk_errors(f"rolling {name} back"), self._locked(name):
            alias = read_alias(self.root / name)
            try:
                moved = alias.rolled_back()
            except Refused as error:
                raise Refused(f"{name} can't go back: {error}") from None
            adapter = self._read(self.root / name / str(moved.current))
            write_alias(self.root / name, moved)
        return adapter

    def remove(self, reference: str, *, force: bool = False) -> Adapter:
        """Removes NAME@VERSION, or NAME if it has a single version; the last version takes the name along.

        The current version of several goes only by ``force``: NAME then stands for what it stood for before, or for
        the newest that is left. Raises Refused, NotFound, StoreError.
        """
        name, asked = split_reference(reference)
        with disk_errors(f"removing {reference}"), staged(self.root) as staging, self._locked(name):
            versions = self.versions(name)
            if asked is None and len(self._version_names(name)) > 1:
                raise Refused(
                    f"{name} has {len(versions)} versions; say which: {name}@VERSION, or all of them"
                )
            adapter = versions[0] if asked is None and versions else self.get(reference)
            current = read_alias(self.root / name).current
            if adapter.version == current and len(versions) > 1 and not force:
                raise Refused(
                    f"{adapter.reference} is the current version; promote another first, or remove it by force"
                )
            self._take_away(name, [adapter.version], staging)
        return adapter

    def remove_all(self, name: str) -> list[str]:
        """Removes ``name`` with all its versions, damaged ones too; which those were. Raises NotFound, StoreError."""
        with disk_errors(f"removing {name}"), staged(self.root) as staging, self._locked(name):
            versions = self._require(name)
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
        for each in self.names() if name is None else [check_name(name)]:
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
        if not self.root.is_dir():
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
            there = self._read(home)
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
        alias = read_alias(home)
        left = [adapter.version for adapter in self.versions(name) if adapter.version not in versions]
        before = [version for version in alias.before if version in left]
        if not set(self._version_names(name)) - set(versions):
            # The whole name at once, so that it never stands there without versions.
            os.rename(home, staging / name)
            sync_folder(self.root)
            return
        # The alias moves first: a name never stands for a version that isn't there.
        moved = alias.without(versions, before[-1] if before else left[-1] if left else None)
        if moved != alias:
            write_alias(home, moved)
        for version in versions:
            os.rename(home / version, staging / version)
        sync_folder(home)

    def _resolve(self, name: str, asked: str | None) -> str:
        found = self._require(name)
        if asked is None:
            current = self._alias(name).current
            if current is None:
                raise NotFound(
                    f"{name} has versions ({', '.join(found[-3:])}) but stands for none; promote one"
                )
            return current
        matching = [version for version in found if version.startswith(asked)]
        if not matching:
            raise NotFound(f"there is no {name}@{asked}; {name} has {', '.join(found[:5])}")
        if len(matching) > 1:
            raise StoreError(f"{name}@{asked} may mean {' or '.join(matching)}")
        return matching[0]

    def _alias(self, name: str) -> Alias:
        check_name(name)
        with disk_errors(f"reading {name}'s alias"):
            return read_alias(self.root / name)

    def _locked(self, name: str) -> Any:
        (self.root / _LOCKS).mkdir(exist_ok=True)
        return locked(self.root / _LOCKS / check_name(name))

    def _require(self, name: str) -> list[str]:
        found = self._version_names(check_name(name))
        if not found:
            raise NotFound(f"there is no adapter {name} in {self.root}")
        return found

    def _version_names(self, name: str) -> list[str]:
        home = self.root / name
        if not is_name(name) or home.is_symlink() or not home.is_dir():
            return []
        with disk_errors(f"listing {name}"):
            return sorted(entry.name for entry in home.iterdir() if is_version(entry.name))

    def _paths(self, name: str, versions: Iterable[str]) -> list[Path]:
        return [self.root / name / version for version in versions]

    def _read(self, path: Path) -> Adapter:
        return Adapter(read_version(path), path)

    def _try_read(self, path: Path) -> Adapter | None:
        try:
            return self._read(path)
        except (Refused, NotFound):
            return None
