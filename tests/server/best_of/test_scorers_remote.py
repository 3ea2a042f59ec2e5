"""A scorer behind a URL: what it is posted, what it may answer, and that its URL is nobody's business."""

from __future__ import annotations

import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from tests.server.best_of.judging import CHAT, TEXT, candidate

from motet_decoding.best_of.candidate import Candidate, Question
from motet_decoding.best_of.scorer import ScorerError
from motet_server.best_of import remote
from motet_server.best_of.remote import RemoteScorer

pytestmark = pytest.mark.anyio

SECRET = "http://scorer.example/secret-path?token=secret"


def decode(ids, skip_special_tokens):
    return f"<{','.join(map(str, ids))}>"


def scorer(answer, *, key: str | None = None, timeout: float = 60.0) -> RemoteScorer:
    return RemoteScorer("far", SECRET, key, timeout, decode, httpx.MockTransport(answer))


def said(content: bytes) -> httpx.Response:
    return httpx.Response(200, stream=httpx.ByteStream(content))


def rewards(*values: object) -> httpx.Response:
    return said(json.dumps({"rewards": values}).encode())


async def posted(question: Question, *candidates: Candidate) -> list[dict]:
    seen: list[dict] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.extend(json.loads(request.content)["items"])
        return rewards(*[0.0] * len(candidates))

    await scorer(answer).score(question, candidates)
    return seen


async def test_a_chats_candidates_are_posted_behind_what_was_asked():
    assert await posted(CHAT, candidate(0, "Three."), candidate(1, "Thr", ended=False)) == [
        {
            "messages": [{"role": "user", "content": "How many?"}],
            "answer": "Three.",
            "ended": True,
            "row": {},
        },
        {"messages": [{"role": "user", "content": "How many?"}], "answer": "Thr", "ended": False, "row": {}},
    ]
    (partial,) = await posted(CHAT, Candidate(0, "Th", (1,)))
    assert partial["ended"] is False


async def test_an_answer_that_is_continued_is_posted_as_one():
    asked, begun = {"role": "user", "content": "How many?"}, {"role": "assistant", "content": "There are "}
    (item,) = await posted(Question((1,), (asked, begun), continued=True), candidate(0, "three."))
    assert (item["messages"], item["answer"]) == ([asked], "There are three.")
    parts = {
        "role": "assistant",
        "content": [{"type": "text", "text": "There "}, {"type": "text", "text": "are "}],
    }
    (item,) = await posted(Question((1,), (asked, parts), continued=True), candidate(0, "three."))
    assert (item["messages"], item["answer"]) == ([asked], "There are three.")


async def test_a_plain_prompt_is_one_user_message():
    (item,) = await posted(TEXT, candidate(0, "three"))
    assert (item["messages"], item["answer"]) == ([{"role": "user", "content": "One, two, "}], "three")
    (item,) = await posted(Question((1, 2)), candidate(0, "three"))
    assert item["messages"] == [{"role": "user", "content": "<1,2>"}]


async def test_its_numbers_come_back_in_order_over_several_requests():
    sizes = []

    def answer(request: httpx.Request) -> httpx.Response:
        items = json.loads(request.content)["items"]
        sizes.append(len(items))
        assert request.headers["authorization"] == "Bearer k"
        return rewards(*(float(item["answer"]) for item in items))

    candidates = [candidate(index, str(index)) for index in range(150)]
    assert await scorer(answer, key="k").score(CHAT, candidates) == [float(index) for index in range(150)]
    assert sorted(sizes) == [22, 64, 64]


@pytest.mark.parametrize(
    ("response", "says"),
    [
        (rewards(1.0), "must give 2 numbers, one a candidate, and gave only 1"),
        (rewards(1.0, 2.0, 3.0), "gave more"),
        (rewards(1.0, None), "gave None as number 1"),
        (rewards(1.0, "2"), "gave '2' as number 1"),
        (rewards(1.0, True), "a number for each item"),
        (rewards(1.0, float("nan")), "gave nan as number 1"),
        (said(b'{"scores": [1, 2]}'), '"rewards"'),
        (said(b"[1, 2]"), '"rewards"'),
        (said(b"<html>"), "answers no JSON"),
        (said(b"[" * 100_000), "answers no JSON"),
        (said(b" " * (2**20 + 1)), "answers more than 1,048,576 bytes"),
        (httpx.Response(500, content=b"secret trouble"), "answers 500"),
        (httpx.Response(307, headers={"location": "http://elsewhere.example"}), "answers 307"),
    ],
)
async def test_anything_but_a_finite_number_each_is_an_error_without_the_url(response, says):
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.host)
        return response

    with pytest.raises(ScorerError, match=r"^far") as error:
        await scorer(answer).score(CHAT, [candidate(0, "a"), candidate(1, "b")])
    assert says in str(error.value)
    assert "secret" not in str(error.value)
    assert asked == ["scorer.example"]  # and not asked again


@pytest.mark.parametrize(
    ("problem", "attempts", "says"),
    [
        (httpx.ConnectError(SECRET), 3, "far can't be reached (ConnectError)"),
        (httpx.RemoteProtocolError(SECRET), 3, "far can't be reached (RemoteProtocolError)"),
        (httpx.ReadTimeout(SECRET), 1, "far took more than 60 s (--scorer-timeout)"),
        (httpx.UnsupportedProtocol(SECRET), 1, "far can't be asked (UnsupportedProtocol)"),
    ],
)
async def test_only_connections_are_tried_again(monkeypatch, problem, attempts, says):
    monkeypatch.setattr(remote, "_WAITS", (0.0, 0.0))
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(1)
        raise problem

    with pytest.raises(ScorerError) as error:
        await scorer(answer).score(CHAT, [candidate(0, "a")])
    assert (str(error.value), len(asked)) == (says, attempts)


async def test_a_connection_that_comes_about_at_last_is_enough(monkeypatch):
    monkeypatch.setattr(remote, "_WAITS", (0.0, 0.0))
    problems = [httpx.ConnectError("no"), httpx.ConnectTimeout("no")]

    def answer(request: httpx.Request) -> httpx.Response:
        if problems:
            raise problems.pop()
        return rewards(4.0)

    assert await scorer(answer).score(CHAT, [candidate(0, "a")]) == [4.0]


async def test_one_that_never_answers_is_given_up():
    async def answer(request: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(ScorerError, match=r"far took more than 0\.05 s"):
        await scorer(answer, timeout=0.05).score(CHAT, [candidate(0, "a")])


async def test_a_real_server_is_asked_past_any_proxy(monkeypatch):
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            items = json.loads(self.rfile.read(int(self.headers["content-length"])))["items"]
            body = json.dumps({"rewards": [len(item["answer"]) for item in items]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        far = RemoteScorer("far", f"http://127.0.0.1:{server.server_port}/", None, 60.0, decode)
        assert await far.score(CHAT, [candidate(0, "a"), candidate(1, "bcd")]) == [1.0, 3.0]
        server.shutdown()
    with pytest.raises(ScorerError, match=r"far can't be reached \(ConnectError\)"):
        await RemoteScorer("far", f"http://127.0.0.1:{server.server_port}/", None, 60.0, decode).score(
            CHAT, [candidate(0, "a")]
        )
