"""A function of the user's, called in a process of its own, which may hang, exit or crash without harm to the run."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import psutil  # type: ignore[import-untyped]

from motet_benchmarks.strategies.tasks import user_code

#: The longest that a call may take, and an import, which may load a model.
CALL_SECONDS, IMPORT_SECONDS = 60, 300
#: After so many calls that were out of time, without a grade in between, there are no more.
PATIENCE = 3
#: By so much later the process ends by itself, if nobody has ended it.
_SPARE_SECONDS = 5


class UserFunctionError(Exception):
    """What the user's code raised, or that it gave nothing; without the place, which the caller knows."""


class UserFunction:
    """A grader of the user's: gives a number from 0 to 1, or None.

    Its process is started at once, serves one call after the other, and is started anew after a call that it didn't
    survive. It ends with this object, and with the interpreter.

    Args:
        place: a file that ends in .py, or a module.
        name: the function in it, which is called with the answer and the fields of the problem's line.
        call_seconds: the longest that a call may take.

    Raises:
        UserFunctionError: it can't be imported, or not within IMPORT_SECONDS, or is no function.
    """

    def __init__(self, place: str, name: str, *, call_seconds: int = CALL_SECONDS) -> None:
        bounds = (str(seconds + _SPARE_SECONDS) for seconds in (IMPORT_SECONDS, call_seconds))
        self._command = [sys.executable, "-P", user_code.__file__, place, name, *bounds]
        self._call_seconds = call_seconds
        self._turn = threading.Lock()
        self._hung = 0
        self._start()

    def __call__(self, text: str, fields: Mapping[str, Any]) -> float | None:
        """The grade. Blocks until there is one or the time is up, after the calls of other threads.

        Raises UserFunctionError, and KeyboardInterrupt where Ctrl-C has ended the process.
        """
        with self._turn:
            if self._hung == PATIENCE:
                raise UserFunctionError(f"was out of time {PATIENCE} times, and isn't called any more")
            if self._process.poll() is not None:
                self._end()
                self._start()
            assert self._process.stdin is not None
            # That it has ended before it could read is told where its answer is waited for.
            with suppress(BrokenPipeError):
                self._process.stdin.write(json.dumps([text, dict(fields)]).encode() + b"\n")
                self._process.stdin.flush()
            grade: float | None = self._told(self._call_seconds, "gave no grade")
            self._hung = 0
            return grade

    def _start(self) -> None:
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._end = weakref.finalize(self, _end, self._process)
        try:
            self._told(IMPORT_SECONDS, "wasn't imported")
        except UserFunctionError:
            self._end()
            raise

    def _told(self, seconds: int, nothing: str) -> Any:
        line = None
        try:
            line = _line(self._process, seconds)
        finally:
            # What isn't waited for any longer, by Ctrl-C neither, must not answer the next call.
            if not line:
                self._end()
        if line is None:
            self._hung += 1
            raise UserFunctionError(f"{nothing} within {seconds} s")
        if not line:
            code = self._process.returncode
            if code == -signal.SIGINT:
                raise KeyboardInterrupt
            how = f"exit code {code}" if code >= 0 else f"signal {-code}"
            raise UserFunctionError(f"ended its process with {how}")
        told = json.loads(line)
        if "error" in told:
            raise UserFunctionError(told["error"])
        return told["grade"]


def _line(process: subprocess.Popen[bytes], seconds: float) -> bytes | None:
    """What the process tells next; nothing where it has ended, None where it is silent for so long."""
    assert process.stdout is not None
    until, parts = time.monotonic() + seconds, [b""]
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while not parts[-1].endswith(b"\n"):
            if not selector.select(max(until - time.monotonic(), 0)):
                return None
            parts.append(os.read(process.stdout.fileno(), 1 << 16))
            if not parts[-1]:
                return b""
    return b"".join(parts)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends the process with all that it has started, if it lives, and closes what leads to it."""
    if process.poll() is None:
        for child in psutil.Process(process.pid).children(recursive=True):
            with suppress(psutil.Error):
                child.kill()
        process.kill()
    # Closes the pipes and waits. What couldn't be written any more is lost.
    with suppress(BrokenPipeError), process:
        pass
