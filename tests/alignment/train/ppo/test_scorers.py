"""Rewards over HTTP, from a small server in a thread: what is sent, and how every failure is told."""

from __future__ import annotations

import gzip
import json
import socket
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from motet_alignment.data import Message
from motet_alignment.errors import TrainError
from motet_alignment.train.models import Base, open_base
from motet_alignment.train.ppo.rewards import make_rewards, posting
from motet_alignment.train.ppo.rollout import Prompt, Rollout
from motet_alignment.train.ppo.settings import PpoSettings


class Scorer(ThreadingHTTPServer):
    """Answers as `answer(path, content)` says: (status, body) or (status, body, headers)."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = lambda path, content: (200, {"rewards": [0.0] * len(content["items"])})
        self.asked: list[tuple[str, dict, dict]] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Scorer

    def do_POST(self) -> None:
        content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, content, dict(self.headers)))
        status, body, *headers = self.server.answer(self.path, content)
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in (headers[0] if headers else {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(raw)))
        with suppress(ConnectionError):  # whoever asked may have gone
            self.end_headers()
            self.wfile.write(raw)

    def log_message(self, *arguments: object) -> None:
        """Nothing on the terminal."""


@pytest.fixture
def scorer():
    with Scorer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    monkeypatch.setattr(posting, "WAITS", (0.0, 0.0))
    monkeypatch.delenv("MOTET_SCORER_KEY", raising=False)
    monkeypatch.delenv("MOTET_API_KEY", raising=False)


@pytest.fixture(scope="module")
def base() -> Base:
    return open_base(PpoSettings(data=["p.jsonl"], reward=["gym"]))


@pytest.fixture
def judge(base):
    """The totals of answers by the reward `spec`; each answer's text is its prompt's number."""

    def judge(spec: str, count: int = 2, text: str = "", **options) -> list[float]:
        settings = PpoSettings(data=["p.jsonl"], reward=[spec], **options)
        rewards = make_rewards(settings.reward, settings.weights, settings, base, None)
        messages = (Message(role="system", content="S"), Message(role="user", content="Q"))
        rollouts = [
            Rollout(
                Prompt(messages, (1,), {"truth": place}, f"p.jsonl:{place}"),
                (2,),
                text or str(place),
                True,
                None,
            )
            for place in range(1, count + 1)
        ]
        try:
            return [one.total for one in rewards(rollouts)]
        finally:
            rewards.close()

    return judge


def by_row(path, content):
    return 200, {"rewards": [item["row"]["truth"] / 2 for item in content["items"]]}


def test_items_go_out_in_batches_and_rewards_come_back_in_order(scorer, judge):
    scorer.answer = by_row
    assert judge(f"{scorer.url}/score?kind=a", 150) == [place / 2 for place in range(1, 151)]
    assert [(path, len(content["items"])) for path, content, _ in scorer.asked] == [
        ("/score?kind=a", 64),
        ("/score?kind=a", 64),
        ("/score?kind=a", 22),
    ]
    assert scorer.asked[0][1]["items"][1] == {
        "messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "Q"}],
        "answer": "2",
        "ended": True,
        "row": {"truth": 2},
    }
    assert "Authorization" not in scorer.asked[0][2]


def test_long_answers_go_out_in_smaller_batches(scorer, judge, monkeypatch):
    scorer.answer = by_row
    monkeypatch.setattr(posting, "REQUEST_BYTES", 2500)
    judge(scorer.url, 5, text="x" * 1000)
    assert [len(content["items"]) for _, content, _ in scorer.asked] == [2, 2, 1]
    scorer.asked.clear()
    judge(scorer.url, 2, text="x" * 5000)
    assert [len(content["items"]) for _, content, _ in scorer.asked] == [1, 1]


def test_what_may_pass_is_asked_again(scorer, judge):
    troubles = iter([503, 429])
    scorer.answer = lambda path, content: (
        (status, {}) if (status := next(troubles, None)) else by_row(path, content)
    )
    assert judge(scorer.url) == [0.5, 1.0]
    assert len(scorer.asked) == 3
    scorer.answer = lambda path, content: (502, b"down")
    with pytest.raises(TrainError, match="answers 502: 'down', asked 3 times; asked for 2 answers"):
        judge(scorer.url)


NAN = b'{"rewards": [1, NaN]}'


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (
            (500, {"error": {"message": "no such thing"}}),
            "answers 500: no such thing; asked for 2 answers, the first",
        ),
        ((404, b"<h1>\n\nnothing here</h1>"), "answers 404: '<h1> nothing here</h1>'; asked for"),
        ((500, b""), "answers 500: nothing; asked for"),
        ((500, {"error": {"message": "\x1b[2Jgone"}}), "answers 500:  [2Jgone; asked for"),
        (
            (302, b"", {"Location": "http://elsewhere.example/"}),
            "redirects to http://elsewhere.example/ (302), which is not",
        ),
        ((200, b"scores: 1, 2"), "answers no JSON: 'scores: 1, 2'; asked for"),
        ((200, b"[" * 100_000), "answers no JSON: '[[["),
        ((200, {"rewards": [1]}), 'must answer {"rewards": [...]} with 2 numbers; asked for'),
        ((200, {"scores": [1, 2]}), 'must answer {"rewards": [...]} with 2 numbers; asked for'),
        ((200, [1, 2]), 'must answer {"rewards": [...]} with 2 numbers; asked for'),
        ((200, {"rewards": [1, "2"]}), "'2' is no finite number, for p.jsonl:2, asked 'Q', answered '2'"),
        ((200, NAN), "nan is no finite number, for p.jsonl:2"),
        ((200, b"x" * 200_000), "answers more than 150,000 bytes; asked for"),
        ((200, gzip.compress(b'{"rewards": [1, 2]}'), {"Content-Encoding": "gzip"}), "answers no JSON"),
    ],
)
def test_what_is_no_answer_is_told_with_the_url_and_the_sample(scorer, judge, monkeypatch, answer, says):
    monkeypatch.setattr(posting, "MOST_BYTES", 150_000)
    scorer.answer = lambda path, content: answer
    with pytest.raises(TrainError) as told:
        judge(f"{scorer.url}/score")
    assert str(told.value).startswith(f"--reward {scorer.url}/score: {says}")
    assert "p.jsonl:" in str(told.value)
    assert len(scorer.asked) == 1


def test_a_scorer_that_says_nothing_is_not_waited_for_again(scorer, judge, monkeypatch):
    done = threading.Event()
    scorer.answer = lambda path, content: (200, b"" if done.wait(60) else b"never")
    monkeypatch.setattr(posting, "READ", 0.05)
    with pytest.raises(TrainError, match="says nothing for 0 s; asked for 2 answers"):
        judge(scorer.url)
    done.set()
    assert len(scorer.asked) == 1


def test_a_scorer_that_is_not_there_is_named(judge):
    with socket.socket() as taken:  # bound and not listening: nobody else can take the port meanwhile
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/"
        with pytest.raises(
            TrainError, match=rf"--reward {url}: can't be asked: ConnectError: .*, asked 3 times"
        ):
            judge(url)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("http://", "must be a URL that begins with http:// or https://"),
        ("https:host", "must be a URL that begins with http:// or https://"),
        ("http://host:port/", "Invalid port"),
        ("ftp://host/", "there is no such grader"),
    ],
)
def test_what_is_no_url_is_refused(judge, spec, says):
    with pytest.raises(TrainError, match=f"^--reward {spec}: {says}"):
        judge(spec)


def test_keys_are_sent_and_never_told(scorer, judge, monkeypatch):
    monkeypatch.setenv("MOTET_SCORER_KEY", "sesame")
    scorer.answer = lambda path, content: (401, {"error": {"message": "wrong key: sesame"}})
    with pytest.raises(TrainError, match=r"answers 401: wrong key: \*\*\*;"):
        judge(scorer.url)
    assert scorer.asked[0][2]["Authorization"] == "Bearer sesame"
    monkeypatch.setenv("MOTET_SCORER_KEY", "ses\name")
    with pytest.raises(
        TrainError, match=f"--reward {scorer.url}: its key holds characters that no header may$"
    ):
        judge(scorer.url)
    with pytest.raises(TrainError, match="a password in a URL would be told in logs") as told:
        judge(scorer.url.replace("://", "://me:sesame@"))
    assert "sesame" not in str(told.value)


def test_a_row_that_json_has_no_word_for(scorer, base):
    settings = PpoSettings(data=["p.jsonl"], reward=[scorer.url])
    rewards = make_rewards(settings.reward, (1.0,), settings, base, None)
    for value, says in ((float("inf"), "can't be sent as JSON"), (b"raw", None)):
        asked = Prompt((Message(role="user", content="Q"),), (1,), {"k": value}, "p.jsonl:1")
        rollouts = [Rollout(asked, (2,), "A", True, None)]
        if says:
            with pytest.raises(TrainError, match=f"{says}: .*; asked for 1 answers, the first: p.jsonl:1"):
                rewards(rollouts)
        else:
            rewards(rollouts)
            assert scorer.asked[-1][1]["items"][0]["row"] == {"k": "b'raw'"}
    rewards.close()


def rewarding(model: str):
    """A server's /v1/rewards: a conversation's score is the length of its last turn."""

    def answer(path, content):
        assert path == "/v1/rewards"
        data = [
            {"object": "reward", "index": place, "reward": float(len(turns[-1]["content"]))}
            for place, turns in enumerate(content["conversations"])
        ]
        return 200, {"data": data[::-1], "motet": {"adapter": model}}

    return answer


@pytest.mark.parametrize("end", ["", "/", "/v1"])
def test_a_server_s_rewards_stay_those_of_one_version(scorer, base, end):
    scorer.answer = rewarding("judge@0123456789ab")
    settings = PpoSettings(
        data=["p.jsonl"], reward=["server:judge"], url=f"{scorer.url}{end}", api_key="sesame"
    )
    rewards = make_rewards(settings.reward, (1.0,), settings, base, None)
    asked = Prompt((Message(role="user", content="Q"),), (1,), {}, "p.jsonl:1")
    rollouts = [Rollout(asked, (2,), "x" * place, True, None) for place in range(300)]
    rewards.check([asked])
    assert [one.total for one in rewards(rollouts)] == [float(place) for place in range(300)]
    rewards.close()
    assert [(content["model"], len(content["conversations"])) for _, content, _ in scorer.asked] == [
        ("judge", 1),
        ("judge@0123456789ab", 256),
        ("judge@0123456789ab", 44),
    ]
    assert {headers["Authorization"] for *_, headers in scorer.asked} == {"Bearer sesame"}
    assert scorer.asked[1][1]["conversations"][2] == [
        {"role": "user", "content": "Q"},
        {"role": "assistant", "content": "xx"},
    ]


def test_an_answer_cut_off_by_the_context_leaves_room_for_the_end_of_its_turn(scorer, judge, base):
    scorer.answer = rewarding("judge@0123456789ab")
    judge("server:judge", 1, text="1" * 1024, url=scorer.url)
    (sent,) = scorer.asked[0][1]["conversations"]
    ids = base.tokenizer.apply_chat_template(sent)["input_ids"]
    assert len(ids) == base.context - 1
    assert set(sent[-1]["content"]) == {"1"}


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ((404, {"error": {"message": "no judge here"}}), "/v1/rewards answers 404: no judge here"),
        (
            (200, {"data": [{"index": 0, "reward": 1.0}]}),
            "the server's answer is no /v1/rewards: 1 rewards came for 2",
        ),
        ((200, {"data": [{"reward": 1.0}] * 2}), "the server's answer is no /v1/rewards: 'index'"),
        ((200, {"rewards": [1.0, 2.0]}), "the server's answer is no /v1/rewards: 'data'"),
        ((200, []), "the server's answer is no /v1/rewards"),
    ],
)
def test_what_a_server_refuses_is_told(scorer, judge, answer, says):
    scorer.answer = lambda path, content: answer
    with pytest.raises(TrainError) as told:
        judge("server:judge", url=scorer.url)
    assert str(told.value).startswith("--reward server:judge: ")
    assert says in str(told.value)
    assert "p.jsonl:1" in str(told.value)


def test_a_server_needs_its_address_and_a_name(judge):
    with pytest.raises(TrainError, match="--reward server:judge: needs the server's --url"):
        judge("server:judge")
    with pytest.raises(TrainError, match="--reward server:: must be server:NAME"):
        judge("server:", url="http://127.0.0.1:1")
