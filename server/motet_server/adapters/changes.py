"""What the routes that change adapters share: bodies read, versions tried, names moved and told of."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from motet_alignment.store import Adapter
from motet_decoding.errors import RequestError
from motet_server.adapters.entry import Entry
from motet_server.adapters.service import AdapterService
from motet_server.body import read_content
from motet_server.errors import error_answer, first_problem

_BodyType = TypeVar("_BodyType", bound=BaseModel)


class Body(BaseModel):
    """A request's body, of which no field is unknown or guessed at."""

    model_config = ConfigDict(extra="forbid", strict=True)


async def read_body(request: Request, kind: type[_BodyType]) -> _BodyType:
    """The body as ``kind`` has it. Raises RequestError naming the field."""
    body = await read_content(request)
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        raise first_problem(error, body) from None


async def make_current(service: AdapterService, reference: str, *, status: int = 200) -> Response:
    """Lets a name mean NAME@VERSION, once the engine has taken that: else the name stays where it is.

    Raises:
        RequestError: there is no such version, it is refused, or no room for it came free in time.
        StoreError: the store doesn't move the name.
    """
    await service.keeper.sync()
    entry = await try_out(service, reference)
    adapter = await asyncio.to_thread(service.store.promote, entry.reference)
    return await go_live(service, adapter, status=status)


async def go_live(service: AdapterService, adapter: Adapter, *, status: int = 200) -> Response:
    """Follows the store, in which the name means ``adapter`` now; a 409 where it came to mean another here."""
    await service.keeper.sync()
    if service.shelf.current.get(adapter.name) != adapter.reference:
        entry = service.shelf.entry(adapter.reference)
        reason = service.keeper.problems.get(adapter.name) or (entry and entry.reason)
        return error_answer(
            f"{adapter.reference} is what {adapter.name} means in the store, but not yet here: "
            f"{reason or 'it was moved again meanwhile'}",
            param="version",
            status=409,
            kind="ConflictError",
        )
    return JSONResponse(told(service, adapter, live=True), status_code=status)


def told(service: AdapterService, adapter: Adapter, *, live: bool) -> dict[str, Any]:
    """A version as the routes that change it answer; ``live``: its name means it now."""
    return {
        "object": "adapter.version",
        "name": adapter.name,
        "version": adapter.version,
        "reference": adapter.reference,
        "kind": adapter.kind,
        "live": live,
        "current": (service.shelf.current.get(adapter.name) or "").partition("@")[2] or None,
    }


async def try_out(service: AdapterService, reference: str) -> Entry:
    """Has the engine take a version. Raises RequestError as ``Shelf.acquire`` does."""
    entry = await service.shelf.acquire(reference)
    service.shelf.release(entry)
    return entry


def own_name(service: AdapterService, name: str) -> str:
    """``name``, unless it came with motet. Raises RequestError."""
    if any(entry.name == name and entry.source.bundled for entry in service.shelf.entries()):
        raise RequestError("name", f"{name} came with motet and can't be changed; publish your own under it")
    return name
