"""The routes by which adapters are listed, published, promoted, rolled back and removed, and vLLM's two, confined.

A change is answered when it is live in the process that answers; other processes of the server follow within moments.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import FastAPI
from pydantic import Field
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from motet_alignment.errors import NotFound, Refused, StoreError
from motet_decoding.errors import RequestError
from motet_server.adapters.changes import Body, go_live, make_current, own_name, read_body
from motet_server.adapters.errors import UnknownAdapterError
from motet_server.adapters.keeper import listed
from motet_server.adapters.origin import check_origin
from motet_server.adapters.publishing import publish
from motet_server.adapters.service import AdapterService
from motet_server.adapters.vllm_routes import load, unload
from motet_server.errors import error_answer, refusal
from motet_server.metrics import count_error

Respond = Callable[[AdapterService, Request], Awaitable[Response]]


class PromoteBody(Body):
    """POST /v1/adapters/NAME/promote."""

    version: Annotated[str, Field(description="The version, or its first 6 characters and more.")]


class RollbackBody(Body):
    """POST /v1/adapters/NAME/rollback."""


def attach(app: FastAPI, service: Callable[[], AdapterService | None]) -> None:
    """Puts the routes on ``app``; ``service`` gives the server's adapters once they are there."""
    routes: tuple[tuple[str, str, Respond], ...] = (
        ("GET", "/v1/adapters", _list),
        ("POST", "/v1/adapters", publish),
        ("GET", "/v1/adapters/{name}", _show),
        ("DELETE", "/v1/adapters/{name}", _remove),
        ("POST", "/v1/adapters/{name}/promote", _promote),
        ("POST", "/v1/adapters/{name}/rollback", _rollback),
        ("POST", "/v1/load_lora_adapter", load),
        ("POST", "/v1/unload_lora_adapter", unload),
    )
    for method, path, respond in routes:
        app.add_api_route(
            path, _endpoint(respond, service), methods=[method], response_model=None, name=respond.__name__
        )


def _endpoint(
    respond: Respond, service: Callable[[], AdapterService | None]
) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        adapters = service()
        try:
            if adapters is None:
                raise RequestError("model", "this server has no adapters; start it without --no-adapters")
            return await respond(adapters, request)
        except RequestError as error:
            response = refusal(error)
        except StoreError as error:
            response = _store_problem(error)
        except ClientDisconnect:
            return Response(status_code=499)  # for nobody; what had come is removed
        count_error("adapters", status=response.status_code, param=None, known=())
        return response

    answer.__doc__ = respond.__doc__
    return answer


def _store_problem(error: StoreError) -> JSONResponse:
    if isinstance(error, NotFound):
        return error_answer(str(error), param="name", status=404, kind="NotFoundError")
    if isinstance(error.__cause__, OSError):  # a full disk, a store that can only be read
        return error_answer(str(error), param=None, status=507, kind="InsufficientStorageError")
    return error_answer(str(error), param="adapter", status=400, kind="BadRequestError")


# Looking


async def _list(service: AdapterService, request: Request) -> Response:
    """Every adapter with its versions and where they stand."""
    names = sorted({*service.shelf.names(), *service.keeper.problems})
    return JSONResponse(
        {
            "object": "list",
            "data": [_adapter(service, name) for name in names],
            "store": str(service.settings.store),
            "max_loaded": service.settings.most,
            "engine": sorted(await service.client.list_loras()),  # its own word, by number
        }
    )


async def _show(service: AdapterService, request: Request) -> Response:
    """One adapter with its versions and where they stand."""
    return JSONResponse(_adapter(service, _name(service, request)))


def _name(service: AdapterService, request: Request) -> str:
    name = str(request.path_params["name"])
    if name not in service.shelf.names() and name not in service.keeper.problems:
        raise UnknownAdapterError(name)
    return name


def _adapter(service: AdapterService, name: str) -> dict[str, Any]:
    shelf = service.shelf
    entries = [entry for entry in shelf.entries() if entry.name == name]
    current = shelf.current_entry(name)
    return {
        "object": "adapter",
        "name": name,
        "kind": current.kind if current else entries[-1].kind if entries else None,
        "current": None if current is None else current.version,
        "bundled": any(entry.source.bundled for entry in entries),
        "problem": service.keeper.problems.get(name),
        "versions": [listed(entry, shelf) for entry in entries],
    }


# Changing


async def _promote(service: AdapterService, request: Request) -> Response:
    """Lets the name mean another of its versions."""
    name = own_name(service, _name(service, request))
    body = await read_body(request, PromoteBody)
    return await make_current(service, f"{name}@{body.version}")


async def _rollback(service: AdapterService, request: Request) -> Response:
    """Lets the name mean what it meant before."""
    name = own_name(service, _name(service, request))
    if await request.body():
        await read_body(request, RollbackBody)
    adapter = await asyncio.to_thread(service.store.rollback, name)
    return await go_live(service, adapter)


async def _remove(service: AdapterService, request: Request) -> Response:
    """Takes a version, or a name with a single one, out of the store; requests in flight finish on it."""
    check_origin(request.headers)  # the gate looks at requests with a body only
    asked = str(request.path_params["name"])
    own_name(service, asked.partition("@")[0])
    try:
        removed = await asyncio.to_thread(service.store.remove, asked)
    except Refused as error:
        return error_answer(str(error), param="name", status=409, kind="ConflictError")
    await service.keeper.sync()
    return JSONResponse({"object": "adapter.version.deleted", "reference": removed, "deleted": True})
