"""Scorers in somebody's own Python: ``python:FILE.py:NAME``, and those of other installed distributions.

NAME is a function from a question and its candidates to a number for each, plain (it then runs in a thread) or async;
or an object with a ``score`` method like that; or a class of such objects that takes no arguments. ``needs`` and
``alone`` mean what they mean of a ``Scorer``, and may be left out.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import inspect
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

from motet_decoding.best_of.candidate import Candidate, Need, Question
from motet_decoding.best_of.scorer import ScorerError
from motet_decoding.errors import LaunchError
from motet_server.best_of.given import numbers

#: Threads of one scorer. One that hangs keeps its thread, and with all of them hanging the scorer takes no more.
_THREADS = 8


class OwnScorer:
    """Somebody's code behind the contract of scorers: what it raises, and gives instead of numbers, is a ScorerError.

    Args:
        name: what it is called.
        scorer: as the module says.
        timeout: seconds for all of one prompt's candidates.

    Raises:
        ValueError: it isn't what the module says.
    """

    def __init__(self, name: str, scorer: Any, timeout: float) -> None:
        if isinstance(scorer, type):
            scorer = scorer()
        score = getattr(scorer, "score", scorer)
        if not callable(score):
            raise ValueError("is neither a function nor has it a method `score`")
        needs = getattr(scorer, "needs", ())
        if isinstance(needs, str) or not set(needs) <= set(get_args(Need)):
            raise ValueError(f"needs {needs!r:.60}; there are {', '.join(get_args(Need))}")
        self.name = name
        self.needs: frozenset[Need] = frozenset(needs)
        self.alone = bool(getattr(scorer, "alone", False))
        self._score: Callable[[Question, Sequence[Candidate]], Any] = score
        self._timeout = timeout
        self._free = asyncio.Semaphore(_THREADS)

    async def score(self, question: Question, candidates: Sequence[Candidate]) -> list[float]:
        """Its numbers.

        Raises:
            ScorerError: it raised, took too long, or gave anything but a finite number for each.
        """
        try:
            async with asyncio.timeout(self._timeout) as limit:
                return await self._scored(question, candidates)
        except ScorerError as error:
            raise ScorerError(f"{self.name}: {error}") from error
        except Exception as error:
            if isinstance(error, TimeoutError) and limit.expired():
                took = f"took more than {self._timeout:g} s (--scorer-timeout)"
                raise ScorerError(f"{self.name} {took}") from None
            raise ScorerError(f"{self.name} failed: {type(error).__name__}: {error!s:.300}") from error

    async def _scored(self, question: Question, candidates: Sequence[Candidate]) -> list[float]:
        given: Any
        if inspect.iscoroutinefunction(self._score):
            given = self._score(question, candidates)
        else:
            given = await self._in_thread(question, candidates)
        return numbers(await given, len(candidates)) if inspect.isawaitable(given) else given

    async def _in_thread(self, question: Question, candidates: Sequence[Candidate]) -> Any:
        """In a thread of its own that nobody waits for, not even the server's end: it may hang."""
        loop = asyncio.get_running_loop()
        future: Future[tuple[Any, BaseException | None]] = Future()
        future.set_running_or_notify_cancel()

        def run() -> None:
            try:
                given = self._score(question, candidates)
                # A generator does its work where it is read, which must not be the event loop.
                given = given if inspect.isawaitable(given) else numbers(given, len(candidates))
                future.set_result((given, None))
            except BaseException as error:  # noqa: BLE001 (raised where it is awaited)
                # As a value: no future takes a StopIteration for an exception.
                future.set_result((None, error))
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._free.release)

        await self._free.acquire()
        try:
            threading.Thread(target=run, name=f"motet-scorer-{self.name}", daemon=True).start()
        except RuntimeError:
            self._free.release()
            raise
        given, error = await asyncio.wrap_future(future)
        if error is not None:
            # What would end the server, or what no coroutine raises, is told as an error of its own.
            own = isinstance(error, Exception) and not isinstance(error, StopIteration)
            raise error if own else RuntimeError(repr(error))
        return given


def load_function(where: str, said: str) -> Any:
    """What ``FILE.py:NAME`` is; a file is loaded once, as it is now.

    Args:
        where: the file and the name in it.
        said: how it was asked for, for the error.

    Raises:
        LaunchError: there is no such file or name in it, or the file can't be imported.
    """
    file, colon, name = where.rpartition(":")
    if not colon or not file.endswith(".py") or not name.isidentifier():
        raise LaunchError(f"{said}: must be python:FILE.py:NAME")
    module = _module(Path(file).expanduser().resolve(), said)
    if not hasattr(module, name):
        raise LaunchError(f"{said}: {file} defines no {name}")
    return getattr(module, name)


def _module(path: Path, said: str) -> ModuleType:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise LaunchError(f"{said}: {path} can't be read: {error.strerror}") from None
    name = f"motet_scorer_{hashlib.sha256(str(path).encode() + content).hexdigest()[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses look for their own module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, Exception):
            raise LaunchError(f"{said}: {_place(error, path)}{type(error).__name__}: {error}") from error
        raise
    return module


def _place(error: Exception, path: Path) -> str:
    """The line of the file at fault, as "FILE:LINE: "."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f"{path.name}:{error.lineno}: "
    lines, trace = [], error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            lines.append(trace.tb_lineno)
        trace = trace.tb_next
    return f"{path.name}:{lines[-1]}: " if lines else ""
