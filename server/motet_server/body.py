"""From bytes to a JSON object that nothing behind can choke on."""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final

from starlette.requests import Request

from motet_decoding.errors import RequestError

#: vLLM takes JSON schemas of 64 levels and nothing deeper; what reads a body may need a Python frame for each level.
MOST_LEVELS: Final = 200

#: Objects and arrays in one body, far more than any conversation with its tools has. Checking each costs the one thread
#: that answers HTTP up to a tenth of a millisecond.
MOST_PARTS: Final = 50_000

#: One half of a character of two, as JSON may spell it.
_HALF = re.compile(r"\\u[dD][89a-fA-F]")


async def read_content(request: Request) -> dict[str, Any]:
    """The body of a request that says it is JSON: a browser's form can then not pose as one.

    Raises:
        RequestError: about ``body``, or naming the field.
    """
    if request.headers.get("content-type", "").split(";", 1)[0].strip().lower() != "application/json":
        raise RequestError("body", "must be sent with the header Content-Type: application/json")
    return read_body(await request.body())


def read_body(content: bytes) -> dict[str, Any]:
    """The body as a JSON object of bounded depth and breadth, of whole characters and finite numbers of 64 bits.

    Raises:
        RequestError: about ``body``, or naming the field.
    """
    try:
        text = content.decode("utf-8-sig")
        body = json.loads(text)
    except UnicodeDecodeError as error:
        raise RequestError("body", f"not UTF-8: {error}") from None
    except RecursionError:
        raise RequestError("body", f"nested deeper than {MOST_LEVELS} levels") from None
    except ValueError as error:
        raise RequestError("body", f"not JSON: {error}") from None
    if not isinstance(body, dict):
        raise RequestError("body", f"must be a JSON object, not {json_type(body)}")
    _check_values(body)
    if _HALF.search(text):
        _check_characters(body)
    return body


def json_type(value: Any) -> str:
    """What JSON calls a value's type."""
    names = {list: "an array", str: "a string", bool: "a boolean", int: "a number", float: "a number"}
    return names.get(type(value), "null")


def _check_values(body: dict[str, Any]) -> None:
    """Refuses what JSON can't write and the engine can't hold: NaN, infinities, integers beyond 64 bits.

    Without recursion: newer Pythons parse deeper than they recurse.
    """
    pending: list[tuple[dict[str, Any] | list[Any], str, int]] = [(body, "", 1)]
    parts = 1
    while pending:
        part, path, level = pending.pop()
        for key, value in part.items() if isinstance(part, dict) else enumerate(part):
            kind = type(value)
            if kind is str or kind is bool or (kind is int and 0 <= value < 2**31):  # token ids: many
                continue
            field = f"{path}.{key!s:.100}" if path else f"{key!s:.100}"
            if kind is float and not math.isfinite(value):
                raise RequestError(field, f"must be a finite number, got {value}")
            if kind is int and not -(2**63) <= value < 2**63:
                raise RequestError(field, "must fit into 64 bits")
            if kind is dict or kind is list:
                parts += 1
                top = field.split(".", 1)[0]
                if level == MOST_LEVELS:
                    raise RequestError(top, f"nested deeper than {MOST_LEVELS} levels")
                if parts > MOST_PARTS:
                    raise RequestError(top, f"more than {MOST_PARTS} objects and arrays in one body")
                pending.append((value, field, level + 1))


def _check_characters(body: dict[str, Any]) -> None:
    """Refuses halves of characters, which neither a tokenizer nor an answer can hold."""
    for field, value in body.items():
        try:
            json.dumps({field: value}, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            name = field.encode(errors="backslashreplace").decode()
            raise RequestError(f"{name:.100}", "has half of a surrogate pair") from None
