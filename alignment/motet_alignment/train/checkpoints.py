"""Checkpoints that are whole or don't count, and the run folder that remembers what it is for."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from motet_alignment.errors import TrainError

#: Written last into a checkpoint: without it, or with other sizes than it lists, there was a kill.
_WHOLE = "complete.json"
_RUN = "run.json"
_LOCK = ".lock"
# What runs write, beside checkpoints.
_FOLDERS = ("tensorboard", "adapter", "best", "best.new", "policy")
_FILES = ("loss", "curves", "metrics", "samples", "result")


def write_json(path: Path, value: Any) -> None:
    """Writes beside and renames into place."""
    beside = path.with_name(path.name + ".new")
    with beside.open("w", encoding="utf-8") as file:
        json.dump(value, file, indent=1, allow_nan=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def seal(checkpoint: Path) -> None:
    """Declares a checkpoint whole."""
    sizes = {
        str(path.relative_to(checkpoint)): path.stat().st_size
        for path in sorted(checkpoint.rglob("*"))
        if path.is_file() and path.name != _WHOLE
    }
    write_json(checkpoint / _WHOLE, sizes)


def is_whole(checkpoint: Path) -> bool:
    """Whether every file is there as it was when the checkpoint was sealed."""
    try:
        sizes = json.loads((checkpoint / _WHOLE).read_text("utf-8"))
        return all((checkpoint / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError):
        return False


def last_checkpoint(folder: Path) -> Path | None:
    """The latest whole checkpoint of a run; what a kill left of others is removed."""
    found = None
    numbered = [path for path in folder.glob("checkpoint-*") if path.name.rpartition("-")[2].isdecimal()]
    for path in sorted(numbered, key=lambda path: int(path.name.rpartition("-")[2])):
        if is_whole(path):
            found = path
        else:
            shutil.rmtree(path)
    return found


def differences(known: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """What two runs don't have in common, in words."""
    return [
        f"{key.replace('_', '-')} was {known.get(key)!r} and is now {asked.get(key)!r}"
        for key in sorted({*known, *asked})
        if known.get(key) != asked.get(key)
    ]


@contextmanager
def run_folder(
    folder: Path, identity: Mapping[str, Any], resume: bool | None, *, leads: bool
) -> Iterator[Path | None]:
    """Holds `folder` for one run and gives the checkpoint to go on from, if there is one.

    Raises TrainError where another process is at it, where it holds a run of other settings, and where `resume` asks
    to go on and there is nothing to go on from.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise TrainError(f"--folder {folder}: {problem.strerror}") from None
    if not leads:
        yield _resumable(folder, resume, look_only=True)
        return
    ours = (_LOCK, _RUN + ".new")  # what a run begins with
    if _known(folder) is None and any(path.name not in ours for path in folder.iterdir()):
        raise TrainError(f"--folder {folder} holds other things than a run; name an empty one")
    with (folder / _LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TrainError(f"--folder {folder}: another training is running there") from None
        if resume is False and (folder / _RUN).exists():
            _clear(folder)
        known = _known(folder)
        if known is None:
            if resume:
                raise TrainError(f"--resume: there is no run in {folder}")
            write_json(folder / _RUN, dict(identity))
        elif differ := differences(known, identity):
            raise TrainError(
                f"--folder {folder} holds a run of other settings ({'; '.join(differ)}); "
                "name another folder, or start over with --no-resume"
            )
        yield _resumable(folder, resume, look_only=False)


def _resumable(folder: Path, resume: bool | None, *, look_only: bool) -> Path | None:
    if look_only:
        whole = [path for path in folder.glob("checkpoint-*") if is_whole(path)]
        return None if resume is False else max(whole, key=lambda path: int(path.name[11:]), default=None)
    return last_checkpoint(folder)


def _known(folder: Path) -> dict[str, Any] | None:
    try:
        value = json.loads((folder / _RUN).read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as problem:
        raise TrainError(f"{folder / _RUN} can't be read: {problem}") from None
    return value if isinstance(value, dict) else None


def _clear(folder: Path) -> None:
    """Removes what runs write, and nothing else."""
    for path in [*folder.glob("checkpoint-*"), *(folder / name for name in _FOLDERS)]:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
    for path in [*(path for name in _FILES for path in folder.glob(f"{name}.*")), folder / _RUN]:
        path.unlink(missing_ok=True)
