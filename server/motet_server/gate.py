"""What every request passes before any route: no body too large, no ``contrast`` where it would be ignored."""

from __future__ import annotations

import json
import re
from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from motet_decoding.errors import RequestError
from motet_server.errors import refusal
from motet_server.metrics import count_error
from motet_server.requests import OWN_FIELDS

#: A key of ours as JSON may spell it, any letter as \\u00XX. Only a body with one, or in another encoding, is parsed.
_OWN_KEY = re.compile(
    "|".join(
        '"{}"'.format("".join(f"(?:{letter}|\\\\u00(?i:{ord(letter):02x}))" for letter in field))
        for field in sorted(OWN_FIELDS)
    ).encode()
)

_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


class Gate:
    """ASGI middleware over vLLM's app.

    Args:
        app: what comes behind.
        max_body: largest body in bytes; a larger one gets a 413.
        paths: the routes that know our fields. On any other route a JSON body with one of them gets a 400.
    """

    def __init__(self, app: ASGIApp, max_body: int, paths: Collection[str]) -> None:
        self.app = app
        self.max_body = max_body
        self.paths = frozenset(paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Reads the body once, judges it, and lets the app read it again."""
        if scope["type"] != "http" or scope["method"] not in _WITH_BODY:
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        try:
            body = await self._read(headers, receive)
            self._check_fields(scope["path"].removeprefix(scope.get("root_path", "")), headers, body)
        except RequestError as error:
            too_large = isinstance(error, _TooLarge)
            answer = refusal(error, status=413, kind="RequestTooLargeError") if too_large else refusal(error)
            count_error("any", status=answer.status_code, param=error.field, known={*OWN_FIELDS, "body"})
            await answer(scope, receive, send)
            return
        await self.app(scope, _replay(body, receive), send)

    async def _read(self, headers: Headers, receive: Receive) -> bytes:
        """The whole body; refused as soon as it is seen to be too large."""
        if (coding := headers.get("content-encoding", "identity")) != "identity":
            raise RequestError("body", f"must not be compressed (Content-Encoding: {coding:.100})")
        declared = headers.get("content-length", "")
        over = declared.isdecimal() and int(declared) > self.max_body
        body = bytearray()
        more = True
        while more and not over:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
            over = len(body) > self.max_body
        if over:
            raise _TooLarge("body", f"more than the {self.max_body} bytes this server reads (--max-body)")
        return bytes(body)

    def _check_fields(self, path: str, headers: Headers, body: bytes) -> None:
        if path not in self.paths and (field := _own_field(headers.get("content-type", ""), body)):
            raise RequestError(
                field, f"{path} doesn't know this field; use {' and '.join(sorted(self.paths))}"
            )


class _TooLarge(RequestError):
    """A body beyond the server's limit."""


def _own_field(content_type: str, body: bytes) -> str | None:
    if content_type and "json" not in content_type.lower():
        return None
    if json.detect_encoding(body).startswith("utf-8") and not _OWN_KEY.search(body):
        return None
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return None  # the route behind says what is wrong with it
    if not isinstance(content, dict):
        return None
    return next((field for field in sorted(OWN_FIELDS) if content.get(field) not in (None, False)), None)


def _replay(body: bytes, receive: Receive) -> Receive:
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return pending.pop() if pending else await receive()

    return replay
