"""The resident memory of a server on this machine, all its processes together."""

from __future__ import annotations

import os
from collections.abc import Callable
from urllib.parse import urlsplit

import psutil  # type: ignore[import-untyped]

#: Who may be asked about their processes.
LOCAL = ("127.0.0.1", "localhost", "::1")


def watch(url: str) -> Callable[[], int | None]:
    """Reads the resident bytes of the server that listens at `url`; None if it isn't to be found here.

    A server's processes are those of the process group that listens: a shell makes one of every job, the benchmark of
    every server it starts. Pages that processes share are counted in each, which no growth comes from.
    """
    group = _group(url)
    if group is None:
        return lambda: None

    def read() -> int | None:
        return (
            sum(_resident(process) for process in psutil.process_iter() if _belongs(process.pid, group))
            or None
        )

    return read


def _group(url: str) -> int | None:
    parts = urlsplit(url)
    if parts.hostname not in LOCAL:
        return None
    for process in psutil.process_iter():
        try:
            for connection in process.net_connections("tcp"):
                if connection.status == psutil.CONN_LISTEN and connection.laddr.port == (parts.port or 80):
                    return os.getpgid(process.pid)
        except (psutil.Error, OSError):
            continue  # another user's, or just gone
    return None


def _belongs(process: int, group: int) -> bool:
    if process == os.getpid():  # a script without job control has one group for all that it starts
        return False
    try:
        return os.getpgid(process) == group
    except ProcessLookupError:
        return False


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0
