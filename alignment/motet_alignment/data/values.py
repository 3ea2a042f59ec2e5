"""Checked access to the values of one row: each failure is a `Malformed` that names the key."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

Row = Mapping[str, Any]


class Malformed(Exception):
    """Why a row can't be used."""


def clean(value: Any, where: str = "") -> Any:
    """`value` without keys that hold null; raises `Malformed` for text that no tokenizer should see.

    Null and absent are one thing, because Parquet's nested columns write the one for the other.
    """
    if isinstance(value, str):
        if "\0" in value:
            raise Malformed(f"{where or 'the text'} has a null byte at character {value.index(chr(0)) + 1}")
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise Malformed(
                f"{where or 'the text'} is no valid Unicode: half a surrogate pair at character {error.start + 1}"
            ) from None
        return value
    if isinstance(value, Mapping):
        return {
            key: clean(inner, f"{where}.{key}" if where else clean(key))
            for key, inner in value.items()
            if inner is not None
        }
    if isinstance(value, list | tuple):
        return [clean(inner, f"{where}[{place}]") for place, inner in enumerate(value)]
    return value


def need(row: Row, key: str, where: str = "") -> Any:
    """The value of `key`."""
    if key not in row:
        raise Malformed(f"key {_name(where, key)!r} is missing or null")
    return row[key]


def text(row: Row, key: str, where: str = "") -> str:
    """The string under `key`, which must hold more than white space."""
    value = string(need(row, key, where), _name(where, key))
    if not value.strip():
        raise Malformed(f"{_name(where, key)} is empty")
    return value


def optional_text(row: Row, key: str, where: str = "") -> str:
    """The string under `key`; empty where the key is missing or holds white space alone."""
    if key not in row:
        return ""
    value = string(row[key], _name(where, key))
    return value if value.strip() else ""


def string(value: Any, name: str) -> str:
    """`value`, which must be a string."""
    if not isinstance(value, str):
        raise Malformed(f"{name} must be text, not {kind_of(value)}")
    return value


def listed(row: Row, key: str, where: str = "") -> list[Any]:
    """The list under `key`, which must hold something."""
    value = need(row, key, where)
    if not isinstance(value, list):
        raise Malformed(f"{_name(where, key)} must be a list, not {kind_of(value)}")
    if not value:
        raise Malformed(f"{_name(where, key)} is an empty list")
    return value


def mapping(value: Any, name: str) -> Row:
    """`value`, which must be an object."""
    if not isinstance(value, Mapping):
        raise Malformed(f"{name} must be an object, not {kind_of(value)}")
    return value


def number(value: Any, name: str) -> float:
    """`value` as a finite number; true is 1 and false is 0."""
    if not isinstance(value, int | float):
        raise Malformed(f"{name} must be a number, not {kind_of(value)}")
    try:
        result = float(value)
    except OverflowError:
        result = math.inf
    if not math.isfinite(result):
        raise Malformed(f"{name} must be a finite number")
    return result


def optional_number(row: Row, key: str, low: float, high: float) -> float | None:
    """The number under `key` between `low` and `high`, or None where the key is missing."""
    if key not in row:
        return None
    value = number(row[key], key)
    if not low <= value <= high:
        bounds = f"between {low:g} and {high:g}" if math.isfinite(high) else f"at least {low:g}"
        raise Malformed(f"{key} must be {bounds}, not {value:g}")
    return value


def kind_of(value: Any) -> str:
    """What JSON calls a value of this type."""
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case list():
            return "a list"
        case Mapping():
            return "an object"
    return type(value).__name__


def _name(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key
