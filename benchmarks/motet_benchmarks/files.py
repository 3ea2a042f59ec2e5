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
    """Move the folder `new` into `place`, over what stands there."""
    before = place.with_name(f".{place.name}.old")
    shutil.rmtree(before, ignore_errors=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.exists():
        os.replace(place, before)
    os.replace(new, place)
    shutil.rmtree(before, ignore_errors=True)
