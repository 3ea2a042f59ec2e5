"""Files and folders are made beside their place and renamed into it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def replace(path: Path, content: str | bytes) -> None:
    """Write `content` beside `path` and rename it into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.new")
    beside.write_bytes(content.encode() if isinstance(content, str) else content)
    os.replace(beside, path)


def replace_folder(new: Path, place: Path) -> None:
    """Move the folder `new` into `place`, over what stands there.

    Killed half way, what stood there is in place, or beside it until the next call or `mend_folder`.
    """
    mend_folder(place)
    before = _before(place)
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.exists():
        os.replace(place, before)
    os.replace(new, place)
    shutil.rmtree(before, ignore_errors=True)


def mend_folder(place: Path) -> None:
    """Put back what stood in `place` when `replace_folder` was killed before it had anything to put there instead."""
    before = _before(place)
    if not place.exists() and before.exists():
        os.replace(before, place)
    shutil.rmtree(before, ignore_errors=True)


def _before(place: Path) -> Path:
    return place.with_name(f".{place.name}.old")
