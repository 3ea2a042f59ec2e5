"""Folders in the making: nothing half-written ever has a name in the store, and what a dead publisher left goes."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from motet_alignment.store.files import locked, try_lock

STAGING = ".staging"
_DOOR = ".door"
_OWNER = "owner.lock"


@contextmanager
def staged(root: Path) -> Iterator[Path]:
    """A new empty folder on the store's own filesystem, gone at the end with all that wasn't moved out of it.

    Whoever holds it has a lock in it; what dead holders left is swept first. Raises OSError.
    """
    sweep(root)
    folder = root / STAGING / secrets.token_hex(16)
    # Behind the door, a folder whose lock is free is a dead publisher's, never one that is being made or cleared.
    with locked(root / STAGING / _DOOR):
        folder.mkdir()
        owner = try_lock(folder / _OWNER)
    try:
        inner = folder / "files"
        inner.mkdir()
        yield inner
    finally:
        with locked(root / STAGING / _DOOR):
            shutil.rmtree(folder)
        if owner is not None:
            os.close(owner)


def sweep(root: Path) -> int:
    """Removes what publishers that are no more left behind; how many folders that were. Raises OSError."""
    staging = root / STAGING
    staging.mkdir(parents=True, exist_ok=True)
    swept = 0
    with locked(staging / _DOOR):
        for folder in staging.iterdir():
            if folder.name == _DOOR:
                continue
            if folder.is_symlink() or not folder.is_dir():
                folder.unlink(missing_ok=True)
                swept += 1
            elif (owner := try_lock(folder / _OWNER)) is not None:
                try:
                    shutil.rmtree(folder)
                    swept += 1
                finally:
                    os.close(owner)
    return swept
