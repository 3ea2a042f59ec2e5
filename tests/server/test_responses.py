from __future__ import annotations

import json
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.responses import JSONResponse, StreamingResponse

from motet_decoding.contrast import Contrast
from motet_server.requests import Order
from motet_server.responses import annotated, annotated_stream, opened

CONTRAST = Contrast(strength=0.8)
TOLD = {"contrast": CONTRAST.model_dump()}


def asked(model: str | None = "toy", contrast: Contrast | None = CONTRAST) -> Order:
    applied = None if contrast is None else contrast.model_dump()
    return Order(request=SimpleNamespace(), model=model, preset=None, contrast=contrast, told=applied)


def chunk(text: str = "", finish: str | None = None, **more: Any) -> str:
    payload = {"model": "toy", "choices": [{"text": text, "finish_reason": finish}], **more}
    return f"data: {json.dumps(payload, separators=(',', ':'))}\n\n"


async def stream_of(*chunks: str) -> AsyncIterator[str]:
    for item in chunks:
        yield item


async def told(order: Order, *chunks: str) -> tuple[list[str], int]:
    counts: list[int] = []
    sent = [item async for item in annotated_stream(stream_of(*chunks), order, "toy", counts.append)]
    assert len(counts) == 1
    return sent, counts[0]


def payloads(chunks: list[str]) -> list[dict[str, Any]]:
    return [json.loads(item.removeprefix("data: ")) for item in chunks if item.startswith("data: {")]


def test_an_answer_says_what_was_applied_and_answers_to_the_name_it_was_called_by():
    answer = annotated(
        JSONResponse({"model": "toy", "id": "x"}, headers={"x-own": "1"}), asked("toy:contrast"), "toy"
    )
    body = json.loads(bytes(answer.body))
    assert body == {"model": "toy:contrast", "id": "x", "motet": TOLD}
    assert answer.headers["x-own"] == "1"
    assert answer.headers["content-length"] == str(len(answer.body))


@pytest.mark.parametrize("model", ["toy", None])
def test_a_plain_answer_is_vllms_own_object(model):
    answer = JSONResponse({"model": "toy"})
    assert annotated(answer, asked(model, None), "toy") is answer


@pytest.mark.anyio
async def test_a_stream_says_it_first_at_each_end_and_with_the_usage():
    parts = [
        chunk("a"),
        ": keep-alive\n\n",
        chunk("b"),
        chunk("c", "stop"),
        chunk(choices=[], usage={"n": 1}),
        "data: [DONE]\n\n",
    ]
    sent, count = await told(asked(), *parts)
    assert ["motet" in payload for payload in payloads(sent)] == [True, False, True, True]
    assert payloads(sent)[0]["motet"] == TOLD
    assert [sent[1], sent[2], sent[-1]] == [parts[1], parts[2], parts[-1]]
    assert count == 4


@pytest.mark.anyio
async def test_text_that_looks_like_an_end_is_not_taken_for_one():
    part = chunk('"finish_reason":"stop" "usage":{}')
    sent, _ = await told(asked(), chunk("a"), part)
    assert sent[1] == part


@pytest.mark.anyio
async def test_a_stream_answers_to_the_name_it_was_called_by_in_every_chunk():
    sent, _ = await told(asked("toy:contrast", None), chunk("a"), chunk("é"), chunk("", "stop"))
    assert [payload["model"] for payload in payloads(sent)] == ["toy:contrast"] * 3
    assert payloads(sent)[1]["choices"][0]["text"] == "é"
    assert not any("motet" in payload for payload in payloads(sent))


@pytest.mark.anyio
async def test_a_plain_stream_is_passed_as_it_is():
    parts = [chunk("a"), chunk("", "stop"), "data: [DONE]\n\n"]
    sent, _ = await told(asked("toy", None), *parts)
    assert sent == parts


@pytest.mark.anyio
async def test_what_a_client_that_left_was_sent_is_counted():
    counts: list[int] = []
    stream = annotated_stream(stream_of(chunk("a"), chunk("b"), chunk("c")), asked(), "toy", counts.append)
    await anext(stream)
    await anext(stream)
    await stream.aclose()  # type: ignore[attr-defined]
    assert counts == [2]


@pytest.mark.anyio
async def test_a_stream_that_begins_with_an_error_becomes_that_error():
    error = {"error": {"message": "no", "type": "BadRequestError", "param": None, "code": 400}}
    answer = await opened(StreamingResponse(stream_of(f"data: {json.dumps(error)}\n\n", "data: [DONE]\n\n")))
    assert answer.status_code == 400
    assert json.loads(bytes(answer.body)) == error


@pytest.mark.anyio
async def test_any_other_stream_stays_whole():
    parts = [chunk("a"), chunk("b")]
    answer = await opened(StreamingResponse(stream_of(*parts)))
    assert isinstance(answer, StreamingResponse)
    assert [item async for item in answer.body_iterator] == parts


@pytest.mark.anyio
async def test_candidates_are_told_where_something_ends_and_counted_in_every_usage():
    """A stream may have a usage on each chunk, and what is told of many candidates is long."""
    contest = SimpleNamespace(told=lambda: {"n": 4}, tokens=40, error=None)
    usage = {"prompt_tokens": 2, "completion_tokens": 1, "total_tokens": 3}
    chunks = [
        chunk(usage=usage),
        chunk("a", usage=usage),
        chunk("b", "stop", usage=usage),
        chunk(choices=[], usage=usage),
    ]
    edited = annotated_stream(stream_of(*chunks), asked(contrast=None), "toy", lambda sent: None, contest)  # type: ignore[arg-type]
    sent = payloads([item async for item in edited])
    assert ["motet" in payload for payload in sent] == [True, False, True, True]
    assert [payload["usage"]["total_tokens"] for payload in sent] == [42] * 4
