from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from motet_server.adapters.entry import Entry
from motet_server.adapters.leases import chat_template
from motet_server.adapters.shelf import Shelf
from motet_server.gate import Gate
from motet_server.settings import ServerSettings

LIMIT = 1000


async def echo(request: Request) -> JSONResponse:
    return JSONResponse({"size": len(await request.body()) if request.method == "POST" else 0})


@pytest.fixture
def client() -> TestClient:
    app = Starlette(
        routes=[Route(path, echo, methods=["GET", "POST"]) for path in ("/v1/chat/completions", "/other")]
    )
    settings = ServerSettings(max_body=LIMIT, max_choices=12)
    app.add_middleware(Gate, settings=settings, paths=["/v1/chat/completions"])
    return TestClient(app)


def chunks(count: int) -> Iterator[bytes]:
    for _ in range(count):
        yield b"x" * 100


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/other"])
@pytest.mark.parametrize("size", [0, 1, LIMIT])
def test_a_body_up_to_the_limit_arrives_whole(client, path, size):
    assert client.post(path, content=b"x" * size).json() == {"size": size}


@pytest.mark.parametrize("content", [b"x" * (LIMIT + 1), chunks(11)], ids=["declared", "chunked"])
def test_a_larger_body_is_refused_in_openais_words(client, content):
    answer = client.post("/other", content=content)
    assert answer.status_code == 413
    assert answer.json()["error"]["param"] == "body"
    assert str(LIMIT) in answer.json()["error"]["message"]


def test_a_chunked_body_up_to_the_limit_arrives_whole(client):
    assert client.post("/other", content=chunks(10)).json() == {"size": LIMIT}


def test_our_field_is_refused_where_it_would_be_ignored_and_nowhere_else(client):
    assert client.post("/v1/chat/completions", json={"contrast": True}).status_code == 200
    answer = client.post("/other", json={"contrast": {"strength": 1}})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "contrast"
    assert "/v1/chat/completions" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("content", "field"),
    [
        (rb'{"\u0063ontrast": true}', "contrast"),
        (rb'{"contr\u0061s\u0074": {}}', "contrast"),
        (rb'{"\u0063\u006F\u006e\u0074\u0072\u0061\u0073\u0074": true}', "contrast"),
        (rb'{"best\u005Fof": 4}', "best_of"),
        (json.dumps({"contrast": True}).encode("utf-8-sig"), "contrast"),
        (json.dumps({"contrast": True}).encode("utf-16"), "contrast"),
        (json.dumps({"contrast": True}).encode("utf-16-le"), "contrast"),
        (json.dumps({"contrast": True}).encode("utf-32-be"), "contrast"),
    ],
)
@pytest.mark.parametrize("headers", [{"content-type": "application/json"}, {}], ids=["json", "untyped"])
def test_our_field_is_seen_however_json_spells_it(client, content, field, headers):
    assert field in json.loads(content)
    answer = client.post("/other", content=content, headers=headers)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, field)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"n": 13}, "n"),
        ({"n": "13"}, "n"),
        ({"n": 7, "prompt": ["a", "b"]}, "n"),
        ({"n": 7, "messages": [[{"role": "user"}], [{"role": "user"}]]}, "n"),
        ({"stop_token_ids": [1] * 100}, "stop_token_ids"),
        ({"seed": 2**63 - 1, "n": 2}, "seed"),
        ({"bad_words": ["\ufdfa" * 60]}, "bad_words"),
    ],
    ids=lambda value: f"{value!s:.40}",
)
def test_other_routes_give_no_more_than_ours(client, body, field):
    answer = client.post("/other", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, field)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (json.dumps({"contrast": False}), "application/json"),
        (json.dumps({"contrast": None}), "application/json"),
        (json.dumps({"messages": [{"content": '"contrast"', "contrast": True}]}), "application/json"),
        (json.dumps(["contrast"]), "application/json"),
        (json.dumps({"n": 12, "seed": {}, "bad_words": 5, "stop_token_ids": "x"}), "application/json"),
        (json.dumps({"n": [], "messages": [{"role": "user"}] * 13}), "application/json"),
        (r'{"\\u0063ontrast": true}', "application/json"),
        ('{"contrast": ', "application/json"),
        (json.dumps({"contrast": True}), "text/plain"),
    ],
)
def test_other_bodies_pass_untouched(client, content, kind):
    answer = client.post("/other", content=content, headers={"content-type": kind})
    assert answer.json() == {"size": len(content)}


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/other"])
def test_a_compressed_body_is_refused_as_such(client, path):
    content = gzip.compress(b"{}")
    answer = client.post(path, content=content, headers={"content-encoding": "gzip"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "body")
    assert "Content-Encoding: gzip" in answer.json()["error"]["message"]
    assert client.post(path, content=content, headers={"content-encoding": "identity"}).status_code == 200


def test_requests_without_a_body_pass(client):
    assert client.get("/other").status_code == 200


# Adapters


class Adapters:
    """What the gate asks of a server's adapters: `tuned` brings a chat template; `base` is refused, being the model."""

    def __init__(self) -> None:
        self.models = ("base", "tuned@home")
        self.shelf = Shelf(Engine(), most=2)
        source = SimpleNamespace(chat_template="TEMPLATE")
        self.shelf.introduce(self.shelf.stock("tuned", "111111aaaaaa", "sft", source))
        self.shelf.stock("base", "222222aaaaaa", "sft", source, refused="a model has this name")


class Engine:
    async def load(self, entry: Entry) -> None:
        pass

    async def unload(self, entry: Entry) -> None:
        pass


async def through(gate: Gate, body: bytes) -> dict[str, Any]:
    """Sends a request in this very context, as a server does that starts one request from the end of another."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"content-type", b"application/json")]
    await gate(
        {"type": "http", "method": "POST", "path": "/tokenize", "headers": headers, "query_string": b""},
        receive,
        send,
    )
    return {"status": sent[0]["status"], **json.loads(sent[1]["body"])}


@pytest.fixture
def gate() -> Gate:
    adapters: Any = Adapters()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = json.loads((await receive())["body"])
        answer = {"model": body["model"], "template": chat_template.get()}
        await JSONResponse(answer)(scope, receive, send)

    return Gate(app, ServerSettings(), ["/v1/chat/completions"], lambda: adapters)


@pytest.mark.anyio
async def test_a_request_never_gets_the_template_of_the_one_before_it(gate):
    tuned = {"status": 200, "model": "tuned@111111aaaaaa", "template": "TEMPLATE"}
    assert await through(gate, b'{"model": "tuned"}') == tuned
    assert await through(gate, b'{"model": "other"}') == {"status": 200, "model": "other", "template": None}


@pytest.mark.anyio
@pytest.mark.parametrize("model", ["base", "tuned@home"])
async def test_the_models_own_name_is_never_an_adapters(gate, model):
    answer = await through(gate, json.dumps({"model": model}).encode())
    assert (answer["status"], answer["model"]) == (200, model)


@pytest.mark.anyio
async def test_a_name_with_half_of_a_character_is_a_404_like_others(gate):
    answer = await through(gate, rb'{"model": "tuned@\ud800"}')
    assert (answer["status"], r"\ud800" in answer["error"]["message"]) == (404, True)


@pytest.mark.anyio
async def test_an_answer_in_the_background_is_refused_where_its_version_could_go_meanwhile(gate):
    answer = await through(gate, b'{"model": "tuned", "background": true}')
    assert (answer["status"], answer["error"]["param"]) == (400, "background")
