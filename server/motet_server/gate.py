"""What every request passes before any route: no body too large, nothing in it that the route would not honour."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from motet_decoding.errors import RequestError
from motet_server import bounds
from motet_server.adapters.leases import SCOPE_KEY, Leases, chat_template
from motet_server.adapters.origin import ADAPTER_PATHS, check_origin, is_upload
from motet_server.errors import TooLargeError, refusal
from motet_server.metrics import count_error
from motet_server.requests import OWN_FIELDS
from motet_server.settings import ServerSettings

if TYPE_CHECKING:
    from motet_server.adapters.service import AdapterService

_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})

#: Without any of these a body holds no field that is looked at: its name as it is, or with a letter spelt as \u00XX.
_MARKS = (*(f'"{field}"'.encode() for field in sorted(OWN_FIELDS | bounds.FIELDS)), rb"\u00")


class Gate:
    """ASGI middleware over vLLM's app.

    Args:
        app: what comes behind.
        settings: the server's; a body larger than theirs gets a 413.
        paths: our own routes. On any other route a JSON body with one of our fields gets a 400, and so does one that
            asks for more than the server gives; an adapter that it names is kept for it.
        service: the server's adapters, once they are there.
        leasing: more routes of ours that keep their adapters themselves.
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: ServerSettings,
        paths: Collection[str],
        service: Callable[[], AdapterService | None] = lambda: None,
        leasing: Collection[str] = (),
    ) -> None:
        self.app = app
        self.settings = settings
        self.paths = frozenset(paths)
        self.service = service
        self.leasing = tuple(leasing)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Reads the body once, judges it, and lets the app read it again."""
        if scope["type"] != "http" or scope["method"] not in _WITH_BODY:
            await self.app(scope, receive, send)
            return
        # A request that came on the heels of another, on one connection, would go on with the other's template.
        chat_template.set(None)
        headers = Headers(scope=scope)
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        service = self.service()
        leases = None if service is None else Leases(service.shelf)
        scope[SCOPE_KEY] = leases
        try:
            if path.startswith(ADAPTER_PATHS):
                check_origin(headers)
            if is_upload(path, headers):
                await self.app(
                    scope, receive, send
                )  # far larger than a request, and read by its route to disk
                return
            body = await self._read(headers, receive)
            if path not in self.paths:
                body = await self._judge(path, headers, body, service, leases)
        except RequestError as error:
            answer = refusal(error)
            known = {*OWN_FIELDS, *bounds.FIELDS, "prompt", "body", "model"}
            count_error("any", status=answer.status_code, param=error.field, known=known)
            await answer(scope, receive, send)
            return
        else:
            await self.app(scope, _replay(body, receive), send if leases is None else leases.telling(send))
        finally:
            if leases is not None:
                leases.close()

    async def _read(self, headers: Headers, receive: Receive) -> bytes:
        """The whole body; refused as soon as it is seen to be too large."""
        if (coding := headers.get("content-encoding", "identity")) != "identity":
            raise RequestError("body", f"must not be compressed (Content-Encoding: {coding:.100})")
        declared = headers.get("content-length", "")
        most = self.settings.max_body
        over = declared.isdecimal() and int(declared) > most
        body = bytearray()
        more = True
        while more and not over:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
            over = len(body) > most
        if over:
            raise TooLargeError("body", f"more than the {most} bytes this server reads (--max-body)")
        return bytes(body)

    async def _judge(
        self,
        path: str,
        headers: Headers,
        body: bytes,
        service: AdapterService | None,
        leases: Leases | None,
    ) -> bytes:
        """What the route behind gets to read: an adapter's name in it has become that of its version."""
        names = () if service is None or path.startswith(self.leasing) else service.shelf.names()
        fields = _fields(headers.get("content-type", ""), body, names)
        for field in sorted(OWN_FIELDS):
            if fields.get(field) not in (None, False):
                known = " and ".join(sorted(self.paths))
                raise RequestError(field, f"{path} doesn't know this field; use {known}")
        bounds.check_amounts(fields, self.settings.max_choices)
        model = fields.get("model")
        if service is None or leases is None or not names or not isinstance(model, str):
            return body
        if model in service.models or not service.shelf.knows(model):
            return body
        if fields.get("background"):
            raise RequestError(
                "background", "isn't available with adapters; a version stays for an open request"
            )
        entry = await leases.take(model)
        return json.dumps({**fields, "model": entry.reference}).encode()


def _fields(content_type: str, body: bytes, names: Collection[str]) -> Mapping[str, Any]:
    """The fields of a JSON object; none of a body that isn't one, or that has none to look at and no such name."""
    if content_type and "json" not in content_type.lower():
        return {}
    marks = (*_MARKS, *(name.encode() for name in names))
    if json.detect_encoding(body).startswith("utf-8") and not any(mark in body for mark in marks):
        return {}
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return {}  # the route behind says what is wrong with it
    return content if isinstance(content, dict) else {}


def _replay(body: bytes, receive: Receive) -> Receive:
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return pending.pop() if pending else await receive()

    return replay
