"""Files that are whole or not there: read with bounds, written through to the disk, renamed into place, locked."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from motet_alignment.errors import Refused, StoreError

READ_ONLY = 0o444
_CHUNK = 2**20
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


@contextmanager
def disk_errors(doing: str) -> Iterator[None]:
    """Turns what the operating system refuses while ``doing`` something into a StoreError that says so."""
    try:
        yield
    except OSError as error:
        place = f" ({error.filename})" if error.filename else ""
        if error.errno in _FULL:
            raise StoreError(
                f"the disk is full or a quota is reached while {doing}{place}; nothing half-written stays"
            ) from error
        if error.errno in _FORBIDDEN:
            raise StoreError(f"no right to write while {doing}{place}: {error.strerror}") from error
        if error.errno == errno.ENOTDIR:
            raise StoreError(f"{error.filename or 'the path'} is no folder, found while {doing}") from error
        raise StoreError(f"the disk failed while {doing}{place}: {error.strerror or error}") from error


def open_regular(path: Path, *, follow: bool = False) -> int:
    """A read-only descriptor of the plain file ``path``.

    Raises Refused for a symbolic link (unless ``follow``), a folder, a pipe or a device, and FileNotFoundError.
    """
    # O_NONBLOCK: opening a pipe without a writer would wait for ever.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW)
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise Refused(f"{path} is a symbolic link; the store takes plain files only") from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise Refused(f"{path} is not a plain file")
    return descriptor


def read_bytes(path: Path, limit: int, *, follow: bool = False) -> bytes:
    """The content of the plain file ``path``. Raises Refused if it has more than ``limit`` bytes, or OSError."""
    with os.fdopen(open_regular(path, follow=follow), "rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise Refused(f"{path} has more than {limit} bytes")
    return content


def read_json(path: Path, limit: int, *, follow: bool = False) -> Any:
    """The JSON value in ``path``. Raises Refused if it is too large, no JSON or nested too deep, or OSError."""
    try:
        return json.loads(read_bytes(path, limit, follow=follow))
    except (ValueError, RecursionError) as error:
        raise Refused(f"{path} is not JSON: {error}") from None


def write_new(path: Path, content: bytes, mode: int = READ_ONLY) -> str:
    """Writes a file that isn't there yet through to the disk; its sha256. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fchmod(descriptor, mode)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return hashlib.sha256(content).hexdigest()


def copy_new(source: int, path: Path, limit: int) -> str:
    """Copies the open file ``source`` to ``path``, which isn't there yet, through to the disk; its sha256.

    Raises Refused if there are more than ``limit`` bytes, or OSError.
    """
    digest, size = hashlib.sha256(), 0
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        while chunk := os.read(source, _CHUNK):
            size += len(chunk)
            if size > limit:
                raise Refused(f"{path.name} has more than {limit} bytes")
            digest.update(chunk)
            view = memoryview(chunk)
            while view:
                view = view[os.write(descriptor, view) :]
        os.fchmod(descriptor, READ_ONLY)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return digest.hexdigest()


def file_sha256(path: Path) -> str:
    """sha256 of the plain file ``path``. Raises Refused for anything but a plain file, or OSError."""
    digest = hashlib.sha256()
    with os.fdopen(open_regular(path), "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def replace_file(path: Path, content: bytes) -> None:
    """Puts ``content`` in the place of ``path`` at once; the caller holds the lock that keeps other writers away.

    Readers see the old content or the new one. Raises OSError; then ``path`` is as it was.
    """
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)  # of a writer that was killed
    try:
        write_new(beside, content, mode=0o644)
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Writes the names in ``folder`` through to the disk. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the lock ``path``, a file that is made if it isn't there; waits for it. The kernel frees a dead holder's.

    Raises OSError.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def try_lock(path: Path) -> int | None:
    """A descriptor that holds the lock ``path`` until it is closed, or None where another holds it. Raises OSError."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
