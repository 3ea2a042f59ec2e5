"""A server's own copies of the versions it serves, so that nothing done to the store reaches the engine.

The engine may read a version's files again at any step; a file that is missing then ends it. So every version is linked
(or copied, where the file system has no links) into a folder of the server's before the engine hears of it, and stays
there until the engine has let go. The processes of one server share the folder; each marks what it uses.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from motet_server.adapters.errors import RefusedError, StorageError

#: Where in a store its servers' folders lie; names of adapters don't begin with a dot.
SERVING = ".serving"

#: What the machine lacks for the moment; it says nothing of a version.
_LACKING = (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EROFS)

_LOCK = ".lock"
_ALIVE = ".alive"


class ServerFolder:
    """The folder of one server, kept while the object lives; those of servers that were killed are removed.

    Args:
        stores: where to put it, the first that can be written to.
    """

    def __init__(self, *stores: Path) -> None:
        made = next(filter(None, map(_folder_in, stores)), None)
        self.path, self._alive = made or _living(Path(tempfile.mkdtemp(prefix="motet-")))

    def close(self) -> None:
        """Removes the folder."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._alive)


def _folder_in(store: Path) -> tuple[Path, int] | None:
    serving = store / SERVING
    try:
        serving.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(serving, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(
                lock, fcntl.LOCK_EX
            )  # else another server's start could take a new folder for a dead one
            for other in serving.iterdir():
                _remove_if_dead(other)
            folder = serving / secrets.token_hex(8)
            folder.mkdir(mode=0o700)
            return _living(folder)
        finally:
            os.close(lock)
    except OSError:
        return None  # a store that can only be read; the next place is asked


def _living(folder: Path) -> tuple[Path, int]:
    """A folder and what marks it as a living server's for as long as it is open."""
    alive = os.open(folder / _ALIVE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(alive, fcntl.LOCK_EX)
    return folder, alive


def _remove_if_dead(folder: Path) -> None:
    try:
        descriptor = os.open(folder / _ALIVE, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return  # just being made, or not a server's
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    except BlockingIOError:
        pass  # its server lives
    finally:
        os.close(descriptor)


class Copies:
    """The copies of one process of a server.

    Args:
        root: the server's folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._own = secrets.token_hex(4)

    def take(self, reference: str, folder: Path, files: Iterable[str]) -> Path:
        """A copy of a version's folder, marked as used by this process.

        Args:
            reference: ``NAME@VERSION``.
            folder: where it is published.
            files: its files, by their paths in it.

        Raises:
            RefusedError: a file is missing or isn't a regular one.
            StorageError: there is no room for a copy.
        """
        copy = self._root / reference
        with self._locked():
            new = self._root / f".new-{secrets.token_hex(4)}"
            try:
                self._mark(reference).touch()
                if copy.is_dir():
                    return copy
                for file in files:
                    _copy(folder / file, new / file)
                new.rename(copy)
            except OSError as error:
                reason = error.strerror or error
                if error.errno in _LACKING:
                    raise StorageError(
                        "model", f"{reference} can't be loaded now: {reason} ({self._root})"
                    ) from error
                raise RefusedError(reference, f"its files can't be read: {reason} ({folder})") from error
            finally:
                if not copy.is_dir():
                    shutil.rmtree(new, ignore_errors=True)
                    self._mark(reference).unlink(missing_ok=True)
        return copy

    def leave(self, reference: str) -> bool:
        """Ends this process's use; whether it was the last one's, who has to see to the copy's removal."""
        with self._locked():
            self._mark(reference).unlink(missing_ok=True)
            return not self.used(reference)

    def remove(self, reference: str) -> None:
        """Removes a copy that no process uses."""
        with self._locked():
            if not self.used(reference):
                shutil.rmtree(self._root / reference, ignore_errors=True)

    def used(self, reference: str) -> bool:
        """Whether any process of the server uses a copy."""
        return any(self._root.glob(f".used-{reference}-*"))

    def _mark(self, reference: str) -> Path:
        return self._root / f".used-{reference}-{self._own}"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = os.open(self._root / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target, follow_symlinks=False)
    except FileNotFoundError:
        raise
    except OSError:  # another file system, or one without links
        descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as content, target.open("xb") as copy:
            shutil.copyfileobj(content, copy)
    if not stat.S_ISREG(target.lstat().st_mode):
        target.unlink()
        raise OSError(f"{source.name} isn't a regular file")
