"""Rewards by a function of the user's own: python:FILE.py:FUNCTION, or python:MODULE:FUNCTION."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

from motet_alignment.errors import TrainError
from motet_alignment.train.ppo.rewards.reward import Answered, raised_at


class FunctionReward:
    """Calls the function with a sequence of Answered; it gives a number for each."""

    def __init__(self, place: str, said: str) -> None:
        """Loads the file or module; `said` is how it was asked for. Raises TrainError naming file and line."""
        where, _, name = place.rpartition(":")
        if not where or not name:
            raise TrainError(f"{said}: must be python:FILE.py:FUNCTION or python:MODULE:FUNCTION")
        module = _module(where, said)
        function = getattr(module, name, None)
        if not callable(function):
            raise TrainError(f"{said}: {where} has no function {name}")
        self._function: Callable[[Sequence[Answered]], Sequence[float]] = function

    def __call__(self, answered: Sequence[Answered]) -> Sequence[float]:
        """What the function gives."""
        return self._function(answered)


def _module(where: str, said: str) -> ModuleType:
    path = Path(where).expanduser().resolve()
    if not where.endswith(".py"):
        return _loaded(lambda: importlib.import_module(where), said)
    if not path.is_file():
        raise TrainError(f"{said}: there is no file {where}")
    # One module a file as it is now, whatever its name, and however many of its functions are asked for.
    try:
        name = f"motet_reward_{hashlib.sha256(str(path).encode() + path.read_bytes()).hexdigest()[:16]}"
    except OSError as error:
        raise TrainError(f"{said}: {where} can't be read: {error.strerror}") from None
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module, loader = importlib.util.module_from_spec(spec), spec.loader

    def load() -> ModuleType:
        sys.modules[name] = module  # where dataclasses look for their own module
        try:
            loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
        return module

    return _loaded(load, said)


def _loaded(load: Callable[[], ModuleType], said: str) -> ModuleType:
    try:
        return load()
    except SyntaxError as error:
        raise TrainError(f"{said}: {error.filename}:{error.lineno}: SyntaxError: {error.msg}") from None
    except Exception as error:
        raise TrainError(f"{said}: {raised_at(error)}{type(error).__name__}: {error}") from error
