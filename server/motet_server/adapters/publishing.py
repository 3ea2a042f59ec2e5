"""The route that publishes an upload: its files are checked, stored, loaded, and become what their name means."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from motet_alignment.errors import StoreError
from motet_alignment.store import KINDS, Adapter, BaseFingerprint, check_name
from motet_decoding.errors import RequestError
from motet_server.adapters.changes import make_current, told, try_out
from motet_server.adapters.errors import RefusedError, StorageError, UploadsError
from motet_server.adapters.service import AdapterService
from motet_server.adapters.upload import receive_form

#: Uploads at once, each of up to --max-adapter-bytes.
MOST_UPLOADS = 4

_UPLOAD_FIELDS = frozenset({"name", "kind", "promote", "base"})


async def publish(service: AdapterService, request: Request) -> Response:
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
        await try_out(service, adapter.reference)
    except RefusedError:
        if new:  # what can't be served here has no place among what is
            await asyncio.to_thread(service.store.remove, adapter.reference)
        raise
    if promote:
        return await make_current(service, adapter.reference, status=201)
    return JSONResponse(told(service, adapter, live=False), status_code=201)


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
