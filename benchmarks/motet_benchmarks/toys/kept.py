"""What was done already: long work in pieces, each kept in a file, so that a run that was killed goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.files import replace

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Piece = TypeVar("Piece", bound="DataclassInstance")


def once(path: Path, kind: type[Piece], basis: Mapping[str, Any], make: Callable[[], Piece]) -> Piece:
    """The piece of work, a dataclass, in the file `path`; where there is none yet, `make` does it.

    `basis` are the JSON values that it depends on. Raises BenchmarkError naming the file if it holds work on another
    basis, or none at all.
    """
    basis = json.loads(json.dumps(basis))
    if not path.exists():
        done = make()
        replace(path, json.dumps({"basis": basis, "done": asdict(done)}, indent=1) + "\n")
        return done
    try:
        held = json.loads(path.read_text("utf-8"))
        found = TypeAdapter(kind).validate_python(held["done"])
    except (OSError, ValueError, KeyError, TypeError) as problem:
        first = problem.errors()[0]["msg"] if isinstance(problem, ValidationError) else problem
        raise BenchmarkError(f"{path} can't be gone on with: {first}") from None
    if held.get("basis") != basis:
        raise BenchmarkError(
            f"{path} is of another recipe or other models; name another --work folder, or remove its folder"
        )
    return found
