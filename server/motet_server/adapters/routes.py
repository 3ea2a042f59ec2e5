"""The routes by which adapters are listed, published, promoted, rolled back and removed, and vLLM's two, confined.

A change is answered when it is live in the process that answers; other processes of the server follow within moments.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from motet_alignment.errors import NotFound, Refused, StoreError
from motet_alignment.store import KINDS, Adapter, BaseFingerprint, check_name
from motet_decoding.errors import RequestError
from motet_server.adapters.entry import Entry
from motet_server.adapters.errors import (
    NotLoadedError,
    RefusedError,
    StorageError,
    UnknownAdapterError,
    UploadsError,
)
from motet_server.adapters.keeper import listed
from motet_server.adapters.origin import check_origin
from motet_server.adapters.service import AdapterService
from motet_server.adapters.upload import receive_form
from motet_server.body import read_content
from motet_server.errors import error_answer, first_problem, refusal
from motet_server.metrics import count_error

_BodyType = TypeVar("_BodyType", bound=BaseModel)

Respond = Callable[[AdapterService, Request], Awaitable[Response]]

#: Uploads at once, each of up to --max-adapter-bytes.
MOST_UPLOADS = 4

_UPLOAD_FIELDS = frozenset({"name", "kind", "promote", "base"})


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class PromoteBody(_Body):
    """POST /v1/adapters/NAME/promote."""

    version: Annotated[str, Field(description="The version, or its first 6 characters and more.")]


class RollbackBody(_Body):
    """POST /v1/adapters/NAME/rollback."""


class LoadBody(_Body):
    """POST /v1/load_lora_adapter, vLLM's."""

    lora_name: Annotated[str, Field(description="NAME, or NAME@VERSION.")]
    lora_path: Annotated[str, Field(description="NAME@VERSION, or a version's folder in the store.")]
    load_inplace: bool = False
    is_3d_lora_weight: Literal[False] = False


class UnloadBody(_Body):
    """POST /v1/unload_lora_adapter, vLLM's."""

    lora_name: str
    lora_int_id: int | None = None


def attach(app: FastAPI, service: Callable[[], AdapterService | None]) -> None:
    """Puts the routes on ``app``; ``service`` gives the server's adapters once they are there."""
    routes: tuple[tuple[str, str, Respond], ...] = (
        ("GET", "/v1/adapters", _list),
        ("POST", "/v1/adapters", _publish),
        ("GET", "/v1/adapters/{name}", _show),
        ("DELETE", "/v1/adapters/{name}", _remove),
        ("POST", "/v1/adapters/{name}/promote", _promote),
        ("POST", "/v1/adapters/{name}/rollback", _rollback),
        ("POST", "/v1/load_lora_adapter", _load),
        ("POST", "/v1/unload_lora_adapter", _unload),
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


async def _publish(service: AdapterService, request: Request) -> Response:
    """Publishes uploaded files, loads them, and lets the name mean them (unless promote=false)."""
    if service.uploads >= MOST_UPLOADS:
        raise UploadsError(MOST_UPLOADS)
    service.uploads += 1
    try:
        adapter, promote = await _received(service, request)
    finally:
        service.uploads -= 1
    new = service.shelf.entry(adapter.reference) is None
    await service.keeper.sync()
    try:
        await _try(service, adapter.reference)
    except RefusedError:
        if new:  # what can't be served here has no place among what is
            await asyncio.to_thread(service.store.remove, adapter.reference)
        raise
    if promote:
        return await _make_current(service, adapter.reference, status=201)
    return JSONResponse(_told(service, adapter, live=False), status_code=201)


async def _received(service: AdapterService, request: Request) -> tuple[Adapter, bool]:
    """The uploaded adapter, published, and whether its name is to mean it."""
    try:
        made = await asyncio.to_thread(tempfile.mkdtemp, prefix=".upload-", dir=service.settings.folder)
    except OSError as error:
        raise StorageError("body", f"can't be written down: {error.strerror or error}") from None
    folder = Path(made)
    try:
        form = await receive_form(
            request.headers.get("content-type", ""),
            request.stream(),
            folder,
            fields=_UPLOAD_FIELDS,
            most=service.settings.max_upload,
        )
        _check_name(form.get("name", ""), service)
        kind, promote = form.get("kind", "sft"), form.get("promote", "true")
        if kind not in KINDS:
            raise RequestError("kind", f"must be one of {', '.join(KINDS)}")
        if promote not in ("true", "false"):
            raise RequestError("promote", "must be true or false")
        if "base" in form:
            _check_base(form["base"], service)
        adapter = await asyncio.to_thread(
            service.store.publish,
            folder,
            name=form["name"],
            kind=kind,
            base=service.settings.base,
            base_folder=service.settings.model,
            promote=False,
        )
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
    return adapter, promote == "true"


def _check_name(name: str, service: AdapterService) -> None:
    if not name:
        raise RequestError("name", "is missing: what requests will call the adapter")
    try:
        check_name(name)
    except StoreError as error:
        raise RequestError("name", str(error)) from None
    if name in service.models:
        raise RequestError("name", "a model of this server has this name; choose another")


def _check_base(text: str, service: AdapterService) -> None:
    """Files tell the shapes of their base alone; who trained them may say which it was, and is held to it."""
    try:
        base = BaseFingerprint.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, ("base", *first["loc"])))
        raise RequestError(where, f"{first['msg']}; it is the fingerprint of a base model") from None
    ours = service.settings.base
    if differ := base.differences(ours, template=False):
        raise RequestError(
            "base",
            f"the adapter was trained on {base.name}; the {' and '.join(differ)} of {ours.name}, which is served "
            "here, differ",
        )


async def _promote(service: AdapterService, request: Request) -> Response:
    """Lets the name mean another of its versions."""
    name = _own(service, _name(service, request))
    body = await _read(request, PromoteBody)
    return await _make_current(service, f"{name}@{body.version}")


async def _rollback(service: AdapterService, request: Request) -> Response:
    """Lets the name mean what it meant before."""
    name = _own(service, _name(service, request))
    if await request.body():
        await _read(request, RollbackBody)
    adapter = await asyncio.to_thread(service.store.rollback, name)
    return await _live(service, adapter)


async def _remove(service: AdapterService, request: Request) -> Response:
    """Takes a version, or a name with a single one, out of the store; requests in flight finish on it."""
    check_origin(request.headers)  # the gate looks at requests with a body only
    asked = str(request.path_params["name"])
    _own(service, asked.partition("@")[0])
    try:
        removed = await asyncio.to_thread(service.store.remove, asked)
    except Refused as error:
        return error_answer(str(error), param="name", status=409, kind="ConflictError")
    await service.keeper.sync()
    return JSONResponse({"object": "adapter.version.deleted", "reference": removed, "deleted": True})


async def _make_current(service: AdapterService, reference: str, *, status: int = 200) -> Response:
    """The engine takes the version first: the name of one that it doesn't take stays where it is."""
    await service.keeper.sync()
    entry = await _try(service, reference)
    adapter = await asyncio.to_thread(service.store.promote, entry.reference)
    return await _live(service, adapter, status=status)


async def _live(service: AdapterService, adapter: Adapter, *, status: int = 200) -> Response:
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
    return JSONResponse(_told(service, adapter, live=True), status_code=status)


def _told(service: AdapterService, adapter: Adapter, *, live: bool) -> dict[str, Any]:
    return {
        "object": "adapter.version",
        "name": adapter.name,
        "version": adapter.version,
        "reference": adapter.reference,
        "kind": adapter.kind,
        "live": live,
        "current": (service.shelf.current.get(adapter.name) or "").partition("@")[2] or None,
    }


async def _try(service: AdapterService, reference: str) -> Entry:
    """Has the engine take a version."""
    entry = await service.shelf.acquire(reference)
    service.shelf.release(entry)
    return entry


def _own(service: AdapterService, name: str) -> str:
    if any(entry.name == name and entry.source.bundled for entry in service.shelf.entries()):
        raise RequestError("name", f"{name} came with motet and can't be changed; publish your own under it")
    return name


# vLLM's routes


async def _load(service: AdapterService, request: Request) -> Response:
    """vLLM's route, confined to the store: NAME comes to mean a version of it, or NAME@VERSION is loaded."""
    body = await _read(request, LoadBody)
    if body.load_inplace:
        raise RequestError(
            "load_inplace",
            "isn't available: answers cached for the old weights would go on to be used for the new ones; publish "
            "the new weights under the same name",
        )
    reference = _in_store(service, body.lora_path)
    name = reference.partition("@")[0]
    if body.lora_name not in (name, reference):
        raise RequestError("lora_name", f"must be {name} or {reference}, as the adapter was published")
    await service.keeper.sync()
    entry = await _try(service, reference)
    if body.lora_name == name and service.shelf.current.get(name) != entry.reference:
        response = await _make_current(service, _own(service, name) + "@" + entry.version)
        if response.status_code != 200:
            return response
    return PlainTextResponse(f"Success: LoRA adapter '{body.lora_name}' added successfully.")


def _in_store(service: AdapterService, path: str) -> str:
    """The version that a path, or NAME@VERSION, is of; nothing outside the stores is looked at."""
    name, at, version = path.partition("@")
    if at and "/" not in path:
        return service.shelf.find(f"{name}@{version}").reference
    for entry in service.shelf.entries():
        if Path(path) == entry.source.adapter.path:
            return entry.reference
    raise RequestError(
        "lora_path",
        f"must be NAME@VERSION or the folder of a version in {service.settings.store}; publish others first, "
        "POST /v1/adapters",
    )


async def _unload(service: AdapterService, request: Request) -> Response:
    """vLLM's route: takes a version off the engine once nobody reads it; it stays published."""
    body = await _read(request, UnloadBody)
    entry = service.shelf.find(body.lora_name)
    if body.lora_int_id not in (None, entry.number):
        raise RequestError("lora_int_id", f"{entry.reference} has {entry.number}")
    if service.shelf.pinned(entry):
        raise RequestError("lora_name", f"{entry.reference} is pinned (--pin)")
    if entry.loaded_at is None:
        raise NotLoadedError(entry.reference)
    await service.shelf.put_away(entry)
    return PlainTextResponse(
        f"Success: LoRA adapter '{body.lora_name}' removed successfully. It stays published and is loaded again when "
        "it is asked for; `motet adapters remove` takes it out of the store."
    )


async def _read(request: Request, kind: type[_BodyType]) -> _BodyType:
    body = await read_content(request)
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        raise first_problem(error, body) from None
