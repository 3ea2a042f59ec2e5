from __future__ import annotations

import gzip
import json
from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

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
