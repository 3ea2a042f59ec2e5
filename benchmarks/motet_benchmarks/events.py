"""Lines and events of an answer, as they come over HTTP."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx

_DATA, _DONE = "data:", "[DONE]"


async def lines(response: httpx.Response) -> AsyncIterator[str]:
    """The lines of an answer in UTF-8, each as soon as it is there.

    A line ends with a line feed alone. `aiter_lines` of httpx cuts at U+2028 and others too, which JSON holds as they
    are.
    """
    held: list[bytes] = []
    async for part in response.aiter_bytes():
        first, *others = part.split(b"\n")
        held.append(first)
        for other in others:
            yield _text(held)
            held = [other]
    if any(held):
        yield _text(held)


async def events(response: httpx.Response) -> AsyncIterator[Any]:
    """The JSON of each server-sent event, without the mark of the end. Raises ValueError for what is no JSON."""
    async for line in lines(response):
        content = line.removeprefix(_DATA).strip()
        if line.startswith(_DATA) and content not in ("", _DONE):
            yield json.loads(content)


def _text(parts: list[bytes]) -> str:
    return b"".join(parts).removesuffix(b"\r").decode("utf-8", "replace").removeprefix("\ufeff")
