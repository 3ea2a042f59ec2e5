"""What pydantic finds wrong with a part of a request, as one field and one sentence."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from motet_decoding.errors import RequestError


def shown(value: Any) -> str:
    """A short look at a value of any size."""
    return f"{reprlib.repr(value):.80}"


def path_in(location: Sequence[str | int], value: Any, *, missing: bool = False) -> tuple[str | int, ...]:
    """The part of pydantic's location that a client would recognise: keys and indices that are in the value.

    Args:
        location: pydantic's, with the names of a union's members in it.
        value: what was read.
        missing: whether the last of them is what the value lacks.
    """
    path: list[str | int] = []
    for index, part in enumerate(location):
        listed = isinstance(value, list | tuple) and isinstance(part, int) and part < len(value)
        if listed or (isinstance(value, dict) and part in value):
            value = value[part]
            path.append(part)
        elif missing and index == len(location) - 1:
            path.append(part)
    return tuple(path)


def first_problem(
    error: ValidationError, field: str, model: type[BaseModel], value: Mapping[str, Any]
) -> RequestError:
    """The first of pydantic's complaints about ``value``, which a request has under ``field``.

    A value of a union is complained of once for every type it could have had: the one that came furthest counts.
    """
    problems = error.errors(include_url=False)
    paths = [path_in(each["loc"], value, missing=each["type"] == "missing") for each in problems]
    related = [place for place, path in enumerate(paths) if path[:1] == paths[0][:1]]
    furthest = max(related, key=lambda place: len(paths[place]))
    problem, path = problems[furthest], paths[furthest]
    cause = problem.get("ctx", {}).get("error")
    if isinstance(cause, RequestError):
        return RequestError(f"{field}.{cause.field}", cause.message)
    name = ".".join([field, *map(str, path)])
    if problem["type"] == "extra_forbidden":
        known = ", ".join(model.model_fields) if len(path) == 1 else None
        return RequestError(name, f"unknown key{f'; known are {known}' if known else ''}")
    message = problem["msg"].removeprefix("Value error, ")
    return RequestError(name, f"{message[0].lower()}{message[1:]}, got {shown(problem['input'])}")
