"""The process that runs a grader of the user's: lines of JSON come in with answers, and go out with their grades.

Run as a file and with the standard library alone, so that it starts at once and holds nothing but the user's code:
``python -P user_code.py PLACE FUNCTION IMPORT_SECONDS CALL_SECONDS``.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import numbers
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

#: The name of a module that is given as a file.
MODULE = "motet_user_code"


def main(place: str, name: str, import_seconds: int, call_seconds: int) -> None:
    """Import, then call for every line, until there are no more."""
    # Ctrl-C reaches this process too and ends it at once, whatever the user's code is at.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # What the user's code prints or reads is none of the exchange.
    incoming, outgoing = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]

    def tell(does: Callable[[], Any], seconds: int) -> None:
        # An alarm ends this process even where nobody is left who waits for it.
        signal.alarm(seconds)
        told = _told(does)
        signal.alarm(0)
        try:
            outgoing.write(json.dumps(told).encode() + b"\n")
            outgoing.flush()
        except BrokenPipeError:
            os._exit(0)  # The run is gone.

    function: list[Callable[[str, dict[str, Any]], Any]] = []
    tell(lambda: function.append(imported(place, name)), import_seconds)
    for line in incoming:
        text, fields = json.loads(line)
        tell(lambda text=text, fields=fields: grade(function[0](text, fields)), call_seconds)  # type: ignore[misc]
    # Threads of the user's aren't waited for.
    os._exit(0)


def imported(place: str, name: str) -> Callable[[str, dict[str, Any]], Any]:
    """The function `name` of a file or a module, which finds modules beside it as `python FILE.py` and `-m` do."""
    found = getattr(_of_file(Path(place)) if place.endswith(".py") else _of_name(place), name)
    if not callable(found):
        raise TypeError(f"{name} is no function")
    return found


def grade(value: Any) -> float | None:
    """A grade as JSON can say it: a bool or a number of Python's or numpy's. Raises ValueError for anything else."""
    if value is None:
        return None
    number = value.item() if hasattr(value, "item") else value
    if not isinstance(number, numbers.Real) or not 0 <= float(number) <= 1:
        raise ValueError(f"gave {value!r:.80}, which is no number from 0 to 1")
    return float(number)


def _told(does: Callable[[], Any]) -> dict[str, Any]:
    try:
        return {"grade": does()}
    except BaseException as problem:  # noqa: BLE001  # whatever the user's code raises is told, sys.exit() too
        said = str(problem)
        return {"error": f"{type(problem).__name__}: {said}" if said else type(problem).__name__}


def _of_name(place: str) -> ModuleType:
    sys.path.insert(0, str(Path.cwd()))
    return importlib.import_module(place)


def _of_file(file: Path) -> ModuleType:
    sys.path.insert(0, str(file.resolve().parent))
    spec = importlib.util.spec_from_file_location(MODULE, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} can't be imported")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses and others look their module up.
    sys.modules[MODULE] = module
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
