"""Finding versions in a store's folder; nothing here writes."""

from __future__ import annotations

from pathlib import Path

from motet_alignment.errors import NotFound, Refused, StoreError
from motet_alignment.store.adapter import Adapter
from motet_alignment.store.alias import Alias, read_alias
from motet_alignment.store.check import read_version
from motet_alignment.store.files import disk_errors
from motet_alignment.store.manifest import check_name, is_name, is_version, split_reference


def names(root: Path) -> list[str]:
    """Names that have versions, in order. Raises StoreError."""
    with disk_errors("listing the store"):
        if not root.exists():
            return []
        return sorted(entry.name for entry in root.iterdir() if version_names(root, entry.name))


def version_names(root: Path, name: str) -> list[str]:
    """The versions of ``name``, damaged ones too, in order of their digits. Raises StoreError."""
    home = root / name
    if not is_name(name) or home.is_symlink() or not home.is_dir():
        return []
    with disk_errors(f"listing {name}"):
        try:
            return sorted(entry.name for entry in home.iterdir() if is_version(entry.name))
        except FileNotFoundError:
            return []  # removed this moment


def require(root: Path, name: str) -> list[str]:
    """``version_names``, of which there must be one. Raises NotFound, StoreError."""
    found = version_names(root, check_name(name))
    if not found:
        raise NotFound(f"there is no adapter {name} in {root}")
    return found


def look(root: Path, name: str) -> tuple[list[Adapter], dict[str, str]]:
    """The whole versions of ``name``, oldest first, and what is wrong with the others. Raises NotFound, StoreError."""
    whole: list[Adapter] = []
    damaged: dict[str, str] = {}
    for version in require(root, name):
        try:
            whole.append(read(root, name, version))
        except NotFound:
            continue  # removed this moment
        except Refused as error:
            damaged[version] = str(error)
    return sorted(whole, key=lambda adapter: (adapter.manifest.created, adapter.version)), damaged


def read(root: Path, name: str, version: str) -> Adapter:
    """That version. Raises NotFound, Refused if it is damaged, StoreError."""
    path = root / name / version
    with disk_errors(f"reading {name}@{version}"):
        return Adapter(read_version(path), path)


def alias(root: Path, name: str) -> Alias:
    """What ``name`` stands for. Raises Refused if that is damaged, StoreError."""
    check_name(name)
    with disk_errors(f"reading {name}'s alias"):
        return read_alias(root / name)


def get(root: Path, reference: str) -> Adapter:
    """NAME's current version, or NAME@VERSION. Raises NotFound, Refused if it is damaged, StoreError."""
    name, asked = split_reference(reference)
    version = resolve(root, name, asked)
    try:
        return read(root, name, version)
    except NotFound:
        if asked is not None:
            raise
        # Between reading the alias and the version it named, somebody moved the one and removed the other.
        return read(root, name, resolve(root, name, None))


def resolve(root: Path, name: str, asked: str | None) -> str:
    """The version that begins with ``asked``, or the current one (None). Raises NotFound, StoreError."""
    found = require(root, name)
    if asked is None:
        current = alias(root, name).current
        if current is None:
            raise NotFound(f"{name} has versions ({', '.join(found[:5])}) but stands for none; promote one")
        return current
    matching = [version for version in found if version.startswith(asked)]
    if not matching:
        raise NotFound(f"there is no {name}@{asked}; {name} has {', '.join(found[:5])}")
    if len(matching) > 1:
        raise StoreError(f"{name}@{asked} may mean {' or '.join(matching)}")
    return matching[0]
