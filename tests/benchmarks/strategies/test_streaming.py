"""One answer over real HTTP: streamed, in one piece, refused, broken off."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from motet_benchmarks.errors import BenchmarkError, Refused
from motet_benchmarks.strategies.streaming import Said, StreamingEndpoint
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


def test_an_endpoint_that_refuses_streams_is_asked_without_them():
    fake = StrategiesFake(refuses=lambda body: "stream_options: unknown" if body.get("stream") else None)

    async def ask() -> list[str]:
        async with StreamingEndpoint(fake.url) as endpoint:
            return [(await endpoint.say(BODY)).text for _ in range(2)]

    with running(fake):
        assert asyncio.run(ask()) == ["words"] * 2
    assert ["stream" in body for body in fake.bodies] == [True, False, False]


@pytest.mark.parametrize("stream", [True, False])
def test_a_refusal_says_what_the_endpoint_said(stream: bool):
    fake = StrategiesFake(refuses=lambda body: "contrast.strength: too much")
    with pytest.raises(Refused, match=r"refused with 400: contrast\.strength: too much") as refusal:
        said_by(fake, stream=stream)
    assert refusal.value.status == 400


class Odd(StrategiesFake):
    """Answers with what it is told to."""

    lines: tuple[str, ...] = ()

    async def answer(self, request: Request) -> Response:
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
        ((END,), "streams tell no usage; ask with --no-stream"),
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
