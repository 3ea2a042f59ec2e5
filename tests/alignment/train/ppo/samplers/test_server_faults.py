"""What a server may do wrong, played by one that does nothing else."""

from __future__ import annotations

import gc
import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import typer

from motet_alignment.errors import TrainError
from motet_alignment.train.cli import stoppable
from motet_alignment.train.devices import Place
from motet_alignment.train.ppo.samplers import server_client
from motet_alignment.train.ppo.samplers.server_sampler import ServerSampler

CPU = Place("cpu", "fp32")


class Played:
    """Answers as a motet server of one version would; `faults` come first, in their order, path by path."""

    def __init__(self) -> None:
        self.faults: dict[str, list[tuple[int, dict]]] = {}
        self.asked: list[tuple[str, str, dict]] = []
        self.adapter: str | None = None
        self.versions: list[str] = []  # the last one is current
        played = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                body = self.rfile.read(length)
                asked = json.loads(body) if body.startswith(b"{") else {}
                played.asked.append((self.command, self.path, asked))
                faults = played.faults.get(f"{self.command} {self.path}")
                status, answer = faults.pop(0) if faults else (200, played.answer(self, asked, body))
                content = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_POST = do_DELETE = do_GET

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients may leave
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_port}"

    def answer(self, request: BaseHTTPRequestHandler, asked: dict, body: bytes) -> dict:
        if request.path != "/v1/completions":
            return self.changed(request.command, request.path.removeprefix("/v1/adapters"), body)
        # As a server in vLLM's own mode: the same whatever the temperature.
        told = {"token_logprobs": [-0.5], "top_logprobs": [{"token_id:1": -0.5, "token_id:2": -1.5}]}
        choice = {"index": 0, "text": "", "finish_reason": "stop", "token_ids": [2], "logprobs": told}
        return {
            "id": "1",
            "object": "text_completion",
            "created": 0,
            "model": asked["model"],
            "choices": [choice],
            "motet": {"adapter": self.adapter or asked["model"]},
        }

    def changed(self, command: str, path: str, body: bytes) -> dict:
        if command == "POST":
            name = body.partition(b'name="name"\r\n\r\n')[2].partition(b"\r\n")[0].decode()
            self.versions.append(f"{name}@{len(self.asked)}")
            return {"reference": self.versions[-1]}
        if command == "DELETE":
            self.versions.remove(path.removeprefix("/"))
        return {
            "data": [],
            "versions": [
                {"reference": one, "removed": False, "current": one == self.versions[-1]}
                for one in self.versions
            ],
        }

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()


@pytest.fixture
def played() -> Iterator[Played]:
    server = Played()
    yield server
    server.close()


@pytest.fixture
def asked(settings, played):
    return settings.model_copy(update={"url": played.url, "temperature": 1.0, "api_key": "secret"})


@pytest.fixture
def sampler(asked, base, versions):
    sampler = ServerSampler(asked, base, CPU)
    sampler.follow(versions[0])
    return sampler


def test_a_busy_server_is_asked_again(sampler, played, prompts):
    played.faults["POST /v1/completions"] = [(503, {"error": {"message": "no room"}})]
    assert [one.ids for one in sampler.sample(prompts[:3], range(3))] == [(2,)] * 3
    assert sum(path == "/v1/completions" for _, path, _ in played.asked) == 4


def test_every_setting_that_a_server_may_have_its_own_of_is_sent(sampler, played, prompts):
    sampler.sample(prompts[:1], [11])
    body = played.asked[-1][2]
    expected = {
        "temperature": 1.0,
        "top_p": 1.0,
        "top_k": 0,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "seed": 11,
    }
    assert body == body | expected | {"prompt": list(prompts[0].ids), "max_tokens": 40, "stop_token_ids": [2]}


def test_another_versions_answer_is_none(sampler, played, prompts):
    played.adapter = "learner@elsewhere"
    with pytest.raises(
        TrainError, match=rf"--url {played.url}: ppo-rollouts-\S+ was asked and learner@elsewhere"
    ):
        sampler.sample(prompts, range(len(prompts)))


def test_the_wrong_logprobs_mode_is_told_before_the_first_answer(asked, base, versions, prompts, played):
    sampler = ServerSampler(asked.model_copy(update={"temperature": 0.5}), base, CPU)
    sampler.follow(versions[0])
    with pytest.raises(TrainError, match=r"--url .*--logprobs-mode processed_logprobs"):
        sampler.sample(prompts, range(len(prompts)))
    assert sum(path == "/v1/completions" for _, path, _ in played.asked) == 2


def test_what_a_server_says_is_passed_on(sampler, played, prompts):
    refusal = {"error": {"message": "prompt: longer than the context", "param": "prompt"}}
    played.faults["POST /v1/completions"] = [(400, refusal)] * 3
    with pytest.raises(TrainError, match=rf"--url {played.url}: prompt: longer than the context"):
        sampler.sample(prompts[:3], range(3))


@pytest.mark.parametrize(
    ("status", "says"),
    [(404, "it is no motet server"), (200, "it is no motet server"), (401, "--api-key or \\$MOTET_API_KEY")],
)
def test_no_such_server(asked, base, played, status, says):
    played.faults["GET /v1/adapters"] = [(status, {"error": {"message": "no"}})] * 2
    with pytest.raises(TrainError, match=f"--url {played.url}: .*{says}") as problem:
        ServerSampler(asked, base, CPU)
    assert "secret" not in str(problem.value)


def test_a_server_that_is_gone(asked, base, versions, prompts, played, monkeypatch, caplog):
    monkeypatch.setattr(server_client, "_RETRIES", 1)
    sampler = ServerSampler(asked, base, CPU)
    sampler.follow(versions[0])
    played.close()
    with pytest.raises(TrainError, match=rf"--url {played.url}: no answer"):
        sampler.sample(prompts[:2], range(2))
    with pytest.raises(TrainError, match=rf"--url {played.url}: no answer"):
        sampler.follow(versions[1])
    sampler.close()
    assert "stays on the server" in caplog.text
    with pytest.raises(TrainError, match=rf"--url {played.url}: no answer"):
        ServerSampler(asked, base, CPU)


@pytest.mark.parametrize("refused", [False, True])
def test_the_first_process_publishes_for_all(asked, base, versions, played, monkeypatch, refused):
    """Two processes' parts, one after the other; what the first says is what the second hears."""
    said: list[object] = []

    def broadcast(told: list[object], from_process: int) -> list[object]:
        assert from_process == 0
        if not said:
            said.extend(told)
        return list(said)

    monkeypatch.setattr("accelerate.utils.broadcast_object_list", broadcast)
    leader, follower = (ServerSampler(asked, base, Place("cpu", "fp32", 2, process)) for process in (0, 1))
    if refused:
        played.faults["POST /v1/adapters"] = [(400, {"error": {"message": "too large"}})]
        for one in (leader, follower):
            with pytest.raises(TrainError, match=f"--url {played.url}: too large"):
                one.follow(versions[0])
        return
    leader.follow(versions[0])
    follower.follow(versions[0])
    assert leader._reference == follower._reference == said[0]
    assert sum(command == "POST" for command, _, _ in played.asked) == 1
    follower.close()
    assert not any(command == "DELETE" for command, _, _ in played.asked)
    leader.close()
    assert played.asked[-1][:2] == ("DELETE", f"/v1/adapters/{said[0]}")


def test_nothing_stays_behind_where_a_version_could_not_be_removed(sampler, played, versions):
    before = sampler._reference
    played.faults[f"DELETE /v1/adapters/{before}"] = [(400, {"error": {"message": "not now"}})]
    with pytest.raises(TrainError, match=rf"--url {played.url}: not now"):
        sampler.follow(versions[1])
    assert len(played.versions) == 2
    sampler.close()
    assert played.versions == []
    gone = [path for command, path, _ in played.asked if command == "DELETE"][1:]
    assert gone[0] == f"/v1/adapters/{before}", "the current version goes only as the last"
    assert len(gone) == 2


def test_nothing_stays_behind_where_a_version_could_not_be_loaded(asked, base, versions, played):
    """A server may have stored what it then refuses."""
    sampler = ServerSampler(asked, base, CPU)
    played.faults["POST /v1/adapters"] = [(400, {"error": {"message": "no room"}})]
    with pytest.raises(TrainError, match=rf"--url {played.url}: no room"):
        sampler.follow(versions[0])
    played.versions = [f"{sampler._name}@1"]
    sampler.close()
    assert played.versions == []


def test_nothing_stays_behind_where_the_training_is_ended(sampler, played, prompts, caplog):
    answer = played.answer

    def ending(request, *rest) -> dict:
        if request.path == "/v1/completions":
            os.kill(os.getpid(), signal.SIGTERM)
        return answer(request, *rest)

    @stoppable()
    def training() -> None:
        with closing(sampler):
            sampler.sample(prompts, range(len(prompts)))

    played.answer = ending
    assert len(played.versions) == 1
    with pytest.raises(typer.Exit):
        training()
    assert played.versions == []
    gc.collect()
    assert not caplog.records, "asyncio tells of tasks that nobody ended"


def test_answers_without_log_probabilities(sampler, played, prompts):
    answer = played.answer

    def silent(*request) -> dict:
        told = answer(*request)
        told["choices"][0]["logprobs"] = None
        return told

    played.answer = silent
    with pytest.raises(TrainError, match=r"doesn't tell its answers' tokens and their log-probabilities"):
        sampler.sample(prompts[:1], [0])
    assert sampler.sample(prompts[:1], [0], greedy=True)[0].ids == (2,)
