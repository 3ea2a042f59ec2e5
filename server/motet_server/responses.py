"""Answers say what was applied: a ``motet`` field, and the model's name as it was asked for."""

from __future__ import annotations

import json
from collections.abc import AsyncIterable, AsyncIterator, Callable
from typing import Any

from starlette.responses import JSONResponse, Response, StreamingResponse

from motet_server.requests import Order

#: What the chunks that end a choice or a stream contain. Quotes inside JSON strings are escaped, so no text a model
#: writes can look like these.
_ENDS = ('"finish_reason":"', '"usage":{')
_EVENT = "data: "


def applied(order: Order) -> dict[str, Any] | None:
    """The ``motet`` field of an answer to ``order``; None for a plain request."""
    field: dict[str, Any] = {}
    if order.adapter is not None:
        field["adapter"] = order.adapter
    if order.contrast is not None:
        field["contrast"] = order.contrast.model_dump()
    return field or None


def annotated(response: JSONResponse, order: Order, served_as: str) -> JSONResponse:
    """An unstreamed answer with the ``motet`` field and the model's name put right."""
    edit = _edit(order, served_as)
    if edit is None:
        return response
    headers = {name: value for name, value in response.headers.items() if name != "content-length"}
    return JSONResponse(
        edit(json.loads(bytes(response.body)), True), headers=headers, background=response.background
    )


def annotated_stream(
    chunks: AsyncIterable[Any], order: Order, served_as: str, finished: Callable[[int], None]
) -> AsyncIterator[str]:
    """A stream with the ``motet`` field on its first chunk, on those that end a choice, and on the usage chunk.

    Args:
        chunks: vLLM's server-sent events as text, ``[DONE]`` last.
        order: what was asked.
        served_as: the model's name in vLLM's answers.
        finished: called once with the number of chunks sent, also when the client leaves.
    """
    edit = _edit(order, served_as)

    async def stream() -> AsyncIterator[str]:
        sent = 0
        try:
            async for chunk in chunks:
                data = chunk.startswith(_EVENT) and not chunk.startswith(
                    (f"{_EVENT}[DONE]", f'{_EVENT}{{"error"')
                )
                if data and edit is not None:
                    telling = sent == 0 or any(end in chunk for end in _ENDS)
                    if telling or served_as != order.model:
                        payload = edit(json.loads(chunk.removeprefix(_EVENT)), telling)
                        chunk = (
                            f"{_EVENT}{json.dumps(payload, ensure_ascii=False, separators=(',', ':'))}\n\n"
                        )
                sent += data
                yield chunk
        finally:
            finished(sent)

    return stream()


async def opened(response: StreamingResponse) -> Response:
    """Waits for a stream's first chunk, so that a request the engine refuses gets its own status and not a 200."""
    chunks = aiter(response.body_iterator)
    first = await anext(chunks, None)
    if isinstance(first, str) and first.startswith(f'{_EVENT}{{"error"'):
        payload = json.loads(first.removeprefix(_EVENT))
        return JSONResponse(payload, status_code=int(payload["error"].get("code") or 500))

    async def whole() -> AsyncIterator[Any]:
        if first is not None:
            yield first
        async for chunk in chunks:
            yield chunk

    response.body_iterator = whole()
    return response


def _edit(order: Order, served_as: str) -> Callable[[dict[str, Any], bool], dict[str, Any]] | None:
    """Changes one payload in place, or None where there is nothing to change in any."""
    field, model = applied(order), order.model
    if field is None and model in (None, "", served_as):
        return None

    def edit(payload: dict[str, Any], telling: bool) -> dict[str, Any]:
        if model and "model" in payload:
            payload["model"] = model
        if field is not None and telling:
            payload["motet"] = field
        return payload

    return edit
