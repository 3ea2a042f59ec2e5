"""Addresses, keys and answers of endpoints, over real HTTP."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from motet_benchmarks import endpoint as endpoints
from motet_benchmarks.adapters.asking import Asker
from motet_benchmarks.adapters.samples import Reply
from motet_benchmarks.endpoint import KEY_VARIABLE, Endpoint
from motet_benchmarks.errors import BenchmarkError, Refused
from motet_benchmarks.strategies.streaming import Said, StreamingEndpoint
from motet_benchmarks.strategies.testing import StrategiesFake
from motet_benchmarks.testing import Fake, running

#: What Python takes for the end of a line, and JSON doesn't.
SEPARATORS = "\u2028\u2029\u0085\x0b\x1c"


def raw(payload: Any) -> bytes:
    """An event as most servers write it: characters as they are, but for control characters."""
    return f"data: {json.dumps(payload, ensure_ascii=False)}\r\n\r\n".encode()


class Raw(Fake):
    """Streams these bytes, each one a part of its own."""

    parts: bytes = b""

    async def answer(self, request: Request) -> Response:
        async def stream() -> Any:
            for place in range(len(self.parts)):
                yield self.parts[place : place + 1]

        return StreamingResponse(stream(), media_type="text/event-stream")


def test_an_answer_may_hold_what_looks_like_the_end_of_a_line():
    text = f"one{SEPARATORS}two é"
    fake = Raw()
    fake.parts = b"\xef\xbb\xbfdata:\n\n" + b"".join(
        raw(payload)
        for payload in (
            {"choices": [{"delta": {"content": text}}]},
            {"choices": [{"delta": {}, "finish_reason": "stop"}]},
            {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}},
        )
    )
    fake.parts += b"data: [DONE]"

    async def ask() -> Said:
        async with StreamingEndpoint(fake.url) as endpoint:
            return await endpoint.say({"messages": []})

    with running(fake):
        said = asyncio.run(ask())
    assert (said.text, said.completion_tokens) == (text, 2)


def test_so_may_an_adapters():
    fake = Raw()
    fake.parts = raw({"choices": [{"text": SEPARATORS, "token_ids": [7, 8]}]}) + b"data: [DONE]\n\n"

    async def ask() -> Reply:
        async with Asker(fake.url) as asker:
            return await asker.ask("now", "fake", 0, [1], 2)

    with running(fake):
        reply = asyncio.run(ask())
    assert (reply.problem, reply.tokens) == (None, (7, 8))


class Guarded(Fake):
    """Answers with one error, and keeps the keys that it was shown."""

    said: Any = None
    code: int = 200

    async def list_models(self, request: Request) -> JSONResponse:
        self.keys = [*getattr(self, "keys", []), request.headers.get("authorization")]
        if self.code == 200:
            return await super().list_models(request)
        return JSONResponse(self.said, self.code)


def entered(url: str, **settings: Any) -> str:
    async def enter() -> str:
        async with Endpoint(url, **settings) as endpoint:
            return endpoint.model

    return asyncio.run(enter())


@pytest.mark.parametrize(
    ("code", "said", "message"),
    [
        (400, {"error": {"message": "too long"}}, "refused with 400: too long"),
        (400, {"error": "too long"}, "refused with 400: too long"),
        (422, {"detail": "Unexpected fields: {'x'}"}, r"refused with 422: Unexpected fields: {'x'}$"),
        (
            422,
            {"detail": [{"loc": ["body", "x"], "msg": "no such field"}, {"msg": "nor that"}]},
            r"refused with 422: body\.x: no such field; nor that$",
        ),
        (401, {"error": {"message": "who is it?"}}, r"refused with 401: who is it\? \(.* MOTET_API_KEY\)"),
        (403, {"detail": "not you"}, r"refused with 403: not you \(.* MOTET_API_KEY\)"),
        (500, ["odd"], r"refused with 500: \['odd'\]"),
    ],
)
def test_a_refusal_is_told_in_the_endpoints_words(code: int, said: Any, message: str):
    fake = Guarded()
    fake.code, fake.said = code, said
    with running(fake), pytest.raises(Refused, match=message) as refusal:
        entered(fake.url)
    assert refusal.value.status == code


@pytest.mark.parametrize("key", ["sk-sec\nret", "sk-sécret", "sk-secret\x7f"])
def test_a_key_that_is_none_is_named_and_not_shown(key: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(KEY_VARIABLE, key)
    for make in (Endpoint, StreamingEndpoint, Asker):
        with pytest.raises(BenchmarkError, match=r"^MOTET_API_KEY: holds characters that no key has") as told:
            make("http://127.0.0.1:9")
        assert "sk-s" not in str(told.value)


def test_a_key_loses_the_blanks_about_it_and_goes_to_those_it_is_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(KEY_VARIABLE, "sk-secret\n")
    fake = Guarded()
    with running(fake):
        entered(fake.url)
        entered(fake.url, key=f"{KEY_VARIABLE}_OTHER")
    assert fake.keys == ["Bearer sk-secret", None]


def test_an_address_where_nobody_is_is_told_soon(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(endpoints, "CONTACT_SECONDS", 2.0)
    monkeypatch.setattr(endpoints, "CONNECT_RETRIES", 0)
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        # One that is taken and never answered, then so many that no more are taken.
        with pytest.raises(BenchmarkError, match=r"/v1/models: no answer within 2 s"):
            entered(url)
        waiting = [socket.socket() for _ in range(8)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(deaf.getsockname())
        with pytest.raises(BenchmarkError, match=r"doesn't answer: no connection within 1 s"):
            entered(url)
        for one in waiting:
            one.close()


def test_an_answer_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch):
    class Dripping(Fake):
        async def list_models(self, request: Request) -> Any:
            async def stream() -> Any:
                while True:
                    yield b" "
                    await asyncio.sleep(0.01)

            return StreamingResponse(stream())

    monkeypatch.setattr(endpoints, "CONTACT_SECONDS", 0.5)
    with running(Dripping()) as fake, pytest.raises(BenchmarkError, match=r"no answer within 0\.5 s"):
        entered(fake.url)


@pytest.mark.parametrize(
    ("address", "root"),
    [
        ("", "/v1"),
        ("/v1/", "/v1"),
        ("/openai/v1", "/openai/v1"),
        ("/api/paas/v4", "/api/paas/v4"),
        ("/v1beta/openai/", "/v1beta/openai"),
        ("/v2/v1", "/v2/v1"),
    ],
)
def test_an_address_may_end_with_its_version(address: str, root: str):
    class Elsewhere(StrategiesFake):
        def routes(self) -> list[Route]:
            return [
                Route(f"{root}/models", self.list_models),
                Route(f"{root}/chat/completions", self.answer, methods=["POST"]),
            ]

    async def ask(url: str) -> str:
        async with StreamingEndpoint(url) as endpoint:
            return (await endpoint.say({"messages": []})).text

    with running(Elsewhere()) as fake:
        assert asyncio.run(ask(fake.url + address)) == "words"


def test_certificates_are_those_of_the_environment_where_any_are_needed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    with running(Guarded()) as fake:
        assert entered(fake.url) == "fake"
    with pytest.raises(BenchmarkError, match=r"^SSL_CERT_FILE, SSL_CERT_DIR: .*No such file"):
        entered("https://127.0.0.1:9")
