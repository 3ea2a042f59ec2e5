"""vLLM's two routes of adapters, confined to the stores."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from motet_decoding.errors import RequestError
from motet_server.adapters.changes import Body, make_current, own_name, read_body, try_out
from motet_server.adapters.errors import NotLoadedError
from motet_server.adapters.service import AdapterService


class LoadBody(Body):
    """POST /v1/load_lora_adapter, vLLM's."""

    lora_name: Annotated[str, Field(description="NAME, or NAME@VERSION.")]
    lora_path: Annotated[str, Field(description="NAME@VERSION, or a version's folder in the store.")]
    load_inplace: bool = False
    is_3d_lora_weight: Literal[False] = False


class UnloadBody(Body):
    """POST /v1/unload_lora_adapter, vLLM's."""

    lora_name: str
    lora_int_id: int | None = None


async def load(service: AdapterService, request: Request) -> Response:
    """vLLM's route, confined to the store: NAME comes to mean a version of it, or NAME@VERSION is loaded."""
    body = await read_body(request, LoadBody)
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
    entry = await try_out(service, reference)
    if body.lora_name == name and service.shelf.current.get(name) != entry.reference:
        response = await make_current(service, own_name(service, name) + "@" + entry.version)
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


async def unload(service: AdapterService, request: Request) -> Response:
    """vLLM's route: takes a version off the engine once nobody reads it; it stays published."""
    body = await read_body(request, UnloadBody)
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
