"""Answers say what was applied: a ``motet`` field, and the model's name as it was asked for."""

from __future__ import annotations

import json
from collections.abc import AsyncIterable, AsyncIterator, Callable
from typing import Any

from starlette.responses import JSONResponse, Response, StreamingResponse

from motet_server.best_of.contest import Contest
from motet_server.best_of.notices import Notice
from motet_server.errors import refusal
from motet_server.requests import Order

#: What the chunks that end a choice or a stream contain, and those with a usage, which may be all of them. Quotes
#: inside JSON strings are escaped, so no text a model writes can look like these.
_ENDS = ('"finish_reason":"', '"choices":[]')
_USAGE = '"usage":{'
_EVENT = "data: "
_ERROR = f'{_EVENT}{{"error"'

#: What a stream's chunks are called.
_CHUNKS = {"chat": "chat.completion.chunk", "completions": "text_completion"}


def applied(order: Order, contest: Contest | None = None) -> dict[str, Any] | None:
    """The ``motet`` field of an answer to ``order``; None for a plain request."""
    field: dict[str, Any] = {}
    if order.adapter is not None:
        field["adapter"] = order.adapter
    if order.told is not None:
        field["contrast"] = order.told
    if contest is not None and (told := contest.told()) is not None:
        field["best_of"] = told
    return field or None


def annotated(
    response: JSONResponse, order: Order, served_as: str, contest: Contest | None = None
) -> JSONResponse:
    """An unstreamed answer with the ``motet`` field, the model's name put right, and all candidates in its usage."""
    edit = _edit(order, served_as, contest)
    if edit is None:
        return response
    headers = {name: value for name, value in response.headers.items() if name != "content-length"}
    return JSONResponse(
        edit(json.loads(bytes(response.body)), True), headers=headers, background=response.background
    )


def annotated_stream(
    chunks: AsyncIterable[Any],
    order: Order,
    served_as: str,
    finished: Callable[[int], None],
    contest: Contest | None = None,
) -> AsyncIterator[str]:
    """A stream with the ``motet`` field on its first chunk, on those that end a choice, and on the usage chunk.

    Args:
        chunks: vLLM's server-sent events as text, ``[DONE]`` last; of a contest notices among them.
        order: what was asked.
        served_as: the model's name in vLLM's answers.
        finished: called once with the number of chunks sent, also when the client leaves.
        contest: the request's, if its answer is chosen.
    """
    edit = _edit(order, served_as, contest)

    async def stream() -> AsyncIterator[str]:
        sent = 0
        try:
            async for chunk in chunks:
                if isinstance(chunk, Notice):
                    yield _event(chunk.payload(_CHUNKS[order.kind], order.model or served_as))
                    continue
                if contest is not None and contest.error is not None and chunk.startswith(_ERROR):
                    chunk = f"{_EVENT}{bytes(refusal(contest.error).body).decode()}\n\n"
                data = chunk.startswith(_EVENT) and not chunk.startswith((f"{_EVENT}[DONE]", _ERROR))
                if data and edit is not None:
                    telling = sent == 0 or any(end in chunk for end in _ENDS)
                    if telling or served_as != order.model or (contest is not None and _USAGE in chunk):
                        payload = edit(json.loads(chunk.removeprefix(_EVENT)), telling)
                        chunk = _event(payload)
                sent += data
                yield chunk
        finally:
            finished(sent)

    return stream()


async def opened(response: StreamingResponse) -> Response:
    """Waits for a stream's first chunk, so that a request the engine refuses gets its own status and not a 200."""
    chunks = aiter(response.body_iterator)
    first = await anext(chunks, None)
    if isinstance(first, str) and first.startswith(_ERROR):
        payload = json.loads(first.removeprefix(_EVENT))
        return JSONResponse(payload, status_code=int(payload["error"].get("code") or 500))

    async def whole() -> AsyncIterator[Any]:
        if first is not None:
            yield first
        async for chunk in chunks:
            yield chunk

    response.body_iterator = whole()
    return response


def _event(payload: dict[str, Any]) -> str:
    return f"{_EVENT}{json.dumps(payload, ensure_ascii=False, separators=(',', ':'))}\n\n"


def _edit(
    order: Order, served_as: str, contest: Contest | None
) -> Callable[[dict[str, Any], bool], dict[str, Any]] | None:
    """Changes one payload in place, or None where there is nothing to change in any."""
    plain, model = applied(order), order.model
    if plain is None and contest is None and model in (None, "", served_as):
        return None

    def edit(payload: dict[str, Any], telling: bool) -> dict[str, Any]:
        if model and "model" in payload:
            payload["model"] = model
        if telling and (field := plain if contest is None else applied(order, contest)) is not None:
            payload["motet"] = field
        if contest is not None and isinstance(usage := payload.get("usage"), dict):
            # All candidates are complete before vLLM writes the first of these.
            usage["completion_tokens"] = contest.tokens
            usage["total_tokens"] = usage["prompt_tokens"] + contest.tokens
        return payload

    return edit
