"""One answer over real HTTP: streamed, in one piece, refused, broken off."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

from motet_benchmarks.errors import BenchmarkError, Refused
from motet_benchmarks.strategies.streaming import Said, StreamingEndpoint, pace
from motet_benchmarks.strategies.testing import PROMPT_TOKENS, TOKENS, StrategiesFake
from motet_benchmarks.testing import Fake, running

BODY = {"model": "fake", "messages": [{"role": "user", "content": "Hi"}], "contrast": True}


def said_by(fake: Fake, *, stream: bool = True, **more: Any) -> Said:
    async def ask() -> Said:
        async with StreamingEndpoint(fake.url) as endpoint:
            return await endpoint.say({**BODY, **more}, stream=stream)

    with running(fake):
        return asyncio.run(ask())


def test_a_stream_is_timed_token_by_token():
    said = said_by(StrategiesFake(reply=lambda body: "four whole words now", pause=0.01))
    assert (said.text, said.finish, said.pieces) == ("four whole words now", "stop", TOKENS)
    assert (said.prompt_tokens, said.completion_tokens) == (PROMPT_TOKENS, TOKENS)
    assert said.motet["contrast"]["against"] == "amateur"
    assert said.first is not None
    assert said.last is not None
    assert 0 < said.first < said.last < said.seconds


@pytest.mark.parametrize(("streams", "stream"), [(False, True), (True, False)])
def test_an_answer_in_one_piece_has_no_times_of_tokens(streams: bool, stream: bool):
    fake = StrategiesFake(streams=streams)
    said = said_by(fake, stream=stream)
    assert (said.text, said.finish, said.first, said.last) == ("words", "length", None, None)
    assert said.completion_tokens == TOKENS
    assert "contrast" in said.motet
    assert ("stream" in fake.bodies[0]) is stream


def asked_twice(fake: Fake) -> list[Said]:
    async def ask() -> list[Said]:
        async with StreamingEndpoint(fake.url) as endpoint:
            return [await endpoint.say(BODY) for _ in range(2)]

    with running(fake):
        return asyncio.run(ask())


def test_an_endpoint_that_refuses_streams_is_asked_without_them(capsys: pytest.CaptureFixture[str]):
    fake = StrategiesFake(refuses=lambda body: "Streaming isn't served" if body.get("stream") else None)
    assert [said.text for said in asked_twice(fake)] == ["words"] * 2
    assert ["stream" in body for body in fake.bodies] == [True, True, False, False]
    assert capsys.readouterr().err.count("refuses streams, so that the times of tokens aren't measured") == 1


def test_an_endpoint_that_refuses_to_count_a_stream_is_asked_for_one_all_the_same(
    capsys: pytest.CaptureFixture[str],
):
    fake = StrategiesFake(
        refuses=lambda body: "unknown field: stream_options" if "stream_options" in body else None
    )
    assert all(said.first is not None for said in asked_twice(fake))
    assert [("stream" in body, "stream_options" in body) for body in fake.bodies] == [
        (True, True),
        (True, False),
        (True, False),
    ]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("reason", ["upstream: prompt too long", "the stream of words is too long"])
def test_a_refusal_that_is_not_about_streams_leaves_them_on(reason: str):
    fake = StrategiesFake(refuses=lambda body: reason if body["messages"][0]["content"] == "long" else None)

    async def ask() -> Said:
        async with StreamingEndpoint(fake.url) as endpoint:
            with pytest.raises(Refused, match=reason):
                await endpoint.say({"messages": [{"role": "user", "content": "long"}]})
            return await endpoint.say(BODY)

    with running(fake):
        assert asyncio.run(ask()).first is not None
    assert "stream_options" in fake.bodies[-1]
    if "upstream" in reason:
        assert len(fake.bodies) == 2


@pytest.mark.parametrize("stream", [True, False])
def test_a_refusal_says_what_the_endpoint_said(stream: bool):
    fake = StrategiesFake(refuses=lambda body: "contrast.strength: too much")
    with pytest.raises(Refused, match=r"refused with 400: contrast\.strength: too much") as refusal:
        said_by(fake, stream=stream)
    assert refusal.value.status == 400


class Odd(StrategiesFake):
    """Answers with what it is told to."""

    lines: tuple[str | bytes, ...] = ()
    whole: dict[str, Any] | None = None

    async def answer(self, request: Request) -> Response:
        if self.whole is not None:
            return JSONResponse(self.whole)
        if self.lines:
            return StreamingResponse(iter(self.lines), media_type="text/event-stream; charset=utf-8")
        return PlainTextResponse("<html>busy</html>", status_code=502)


def event(payload: Any) -> str:
    return f"data: {json.dumps(payload)}\n\n"


END = event({"choices": [{"delta": {}, "finish_reason": "stop"}]})
USAGE = event({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}})


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ((), "status 502, not JSON: '<html>busy"),
        ((USAGE,), "broke off before the answer's end"),
        (("data: {broken\n\n",), "not an OpenAI answer"),
        ((event({"error": {"message": "out of memory", "code": 500}}),), "refused with 500: out of memory"),
        ((event({"error": "out of memory"}),), "refused with 500: out of memory"),
        ((event({"object": "chunk"}),), "not an OpenAI answer: KeyError"),
    ],
)
def test_what_is_no_answer_is_told(lines: tuple[str, ...], message: str):
    fake = Odd()
    fake.lines = lines
    with pytest.raises(BenchmarkError, match=message):
        said_by(fake)


def test_reasoning_is_timed_and_is_no_part_of_the_answer():
    fake = Odd()
    fake.lines = (
        event({"choices": [{"delta": {"reasoning": "hm"}}]}),
        event({"choices": [{"delta": {"content": "4"}}]}),
        END,
        USAGE,
        "data: [DONE]\n\n",
    )
    said = said_by(fake)
    assert (said.text, said.pieces) == ("4", 2)


def test_halves_of_characters_become_whole_or_are_replaced():
    fake = Odd()
    halves = ("\ud83d", "\ude00 and ", "\ud83d.")
    fake.lines = (*(event({"choices": [{"delta": {"content": half}}]}) for half in halves), END, USAGE)
    assert said_by(fake).text == "\U0001f600 and \ufffd."


def test_a_stream_that_is_cut_is_told():
    with pytest.raises(BenchmarkError, match="broke off before the answer's end"):
        said_by(StrategiesFake(breaks=True, reply=lambda body: "four whole words now"))


def test_a_stream_without_usage_is_counted_by_its_pieces():
    fake = Odd()
    fake.lines = (*(event({"choices": [{"delta": {"content": piece}}]}) for piece in ("one ", "two")), END)
    said = said_by(fake)
    assert (said.text, said.completion_tokens, said.prompt_tokens, said.counted) == ("one two", 2, 0, True)
    fake.lines = (*fake.lines, USAGE)
    said = said_by(fake)
    assert (said.completion_tokens, said.prompt_tokens, said.counted) == (1, 1, False)


def test_an_answer_in_one_piece_without_usage_says_what_it_lacks():
    fake = Odd()
    fake.whole = {"choices": [{"message": {"content": "words"}}]}
    with pytest.raises(BenchmarkError, match="the answer has no `usage`"):
        said_by(fake, stream=False)


def test_a_request_that_json_cannot_hold_is_not_blamed_on_the_endpoint():
    fake = StrategiesFake()
    with pytest.raises(BenchmarkError, match="JSON can't hold the request: Out of range float"):
        said_by(fake, temperature=float("nan"))
    assert fake.bodies == []


@pytest.mark.parametrize(
    ("said", "tokens", "at_once", "expected"),
    [
        (Said(first=1.0, last=3.0, pieces=5, seconds=9.0), 5, False, 0.5),
        (Said(first=1.0, last=3.0, pieces=5), 5, True, None),
        (Said(first=1.0, last=1.0, pieces=1), 5, False, None),
        (Said(first=1.0, last=1.0, pieces=2), 1, False, None),
        (Said(), 5, False, None),
    ],
)
def test_the_pace_is_told_where_tokens_came_one_by_one(
    said: Said, tokens: int, at_once: bool, expected: float | None
):
    assert pace(said, tokens, at_once=at_once) == expected
