"""Best-of-N on a server without rewards: scorers of somebody's own, what they break, tools, grammars, streams."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from tests.servers import Server

from .conftest import token_id

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
BODY: dict[str, Any] = {
    "model": "toy",
    "messages": [{"role": "user", "content": "What is 17 + 25?"}],
    "temperature": 1.0,
    "seed": 5,
    "max_tokens": 16,
}


def post(server: Server, path: str = CHAT, **fields: Any) -> httpx.Response:
    body = {**BODY, **fields}
    if path == COMPLETIONS:
        del body["messages"]
        body.setdefault("prompt", "What is 17 + 25?")
    return httpx.post(f"{server.url}{path}", json=body, timeout=300)


def answered(server: Server, path: str = CHAT, **fields: Any) -> dict[str, Any]:
    answer = post(server, path, **fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


def content(answer: dict[str, Any]) -> str:
    return answer["choices"][0]["message"]["content"]


@pytest.mark.parametrize(
    ("by", "score"),
    [("shortest", lambda text: -len(text)), ("remote", lambda text: len(set(text)))],
)
@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
def test_a_scorer_of_ones_own_decides(pair, by, score, path):
    answer = answered(pair, path, best_of={"n": 6, "by": by, "candidates": True, "report": ["likelihood"]})
    told = answer["motet"]["best_of"]
    texts = [candidate["text"] for candidate in told["texts"]]
    assert told["scores"] == [score(text) for text in texts]
    winner = max(range(6), key=lambda index: (told["scores"][index], -index))
    assert told["choices"] == [winner]
    assert len(told["report"]["likelihood"]) == 6
    chosen = answer["choices"][0]
    assert (chosen["message"]["content"] if path == CHAT else chosen["text"]) == texts[winner]


@pytest.mark.parametrize(("by", "why"), [("broken", "broken"), ("endless", "endless")])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_scorer_that_fails_is_an_error_and_no_first_candidate(pair, by, why, stream):
    answer = post(pair, best_of={"n": 4, "by": by}, stream=stream)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (500, "best_of.by", 500)
    assert why in error["message"]


def test_the_likelihood_may_decide_instead_and_the_answer_says_so(pair):
    told = answered(pair, best_of={"n": 4, "by": "broken", "on_error": "likelihood"})["motet"]["best_of"]
    likely = answered(pair, best_of={"n": 4, "by": "likelihood"})["motet"]["best_of"]
    assert told["by"] == "likelihood"
    assert "broken" in told["failed"]
    assert (told["scores"], told["choices"]) == (likely["scores"], likely["choices"])


def test_a_stream_is_kept_open_while_its_scorer_thinks(pair):
    with (
        pair.http() as http,
        http.stream("POST", CHAT, json={**BODY, "stream": True, "best_of": {"n": 3, "by": "slow"}}) as answer,
    ):
        assert answer.status_code == 200
        lines = [line for line in answer.iter_lines() if line]
    comments = [line for line in lines if line.startswith(":")]
    assert comments
    assert lines[0] == comments[0]
    data = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    assert data[-1] == "[DONE]"
    assert json.loads(data[-2])["motet"]["best_of"]["choices"] == [2]


def test_a_scorer_that_fails_after_comments_ends_the_stream_with_its_error(pair):
    body = {**BODY, "stream": True, "max_tokens": 3000, "ignore_eos": True}
    with (
        pair.http() as http,
        http.stream("POST", CHAT, json={**body, "best_of": {"n": 2, "by": "broken"}}) as answer,
    ):
        assert answer.status_code == 200
        lines = [line.removeprefix("data: ") for line in answer.iter_lines() if line.startswith("data: ")]
    error = json.loads(lines[0])["error"]
    assert (error["param"], error["code"]) == ("best_of.by", 500)
    assert lines[-1] == "[DONE]"


def test_winners_are_read_for_tools_and_grammars_as_plain_answers_are(pair):
    blanks = {str(token_id(blank)): -100 for blank in " \t\n\r"}
    schema = {"type": "object", "properties": {"hot": {"type": "boolean"}}, "required": ["hot"]}
    strict = {"name": "s", "strict": True, "schema": {**schema, "additionalProperties": False}}
    answer = answered(
        pair,
        response_format={"type": "json_schema", "json_schema": strict},
        best_of={"n": 4, "by": "shortest", "return": 2},
        logit_bias=blanks,
        max_tokens=64,
    )
    assert [choice["index"] for choice in answer["choices"]] == [0, 1]
    for choice in answer["choices"]:
        assert set(json.loads(choice["message"]["content"])) == {"hot"}
    function = {"name": "weather", "strict": True, "parameters": strict["schema"]}
    tool = {"type": "function", "function": function}
    fields = {"tools": [tool], "tool_choice": {"type": "function", "function": {"name": "weather"}}}
    for stream in (False, True):
        best_of = {"n": 3, "by": "likelihood"}
        answer = post(pair, **fields, best_of=best_of, logit_bias=blanks, max_tokens=200, stream=stream)
        assert answer.status_code == 200, answer.text
        if not stream:
            call, *_ = answer.json()["choices"][0]["message"]["tool_calls"]
            arguments = call["function"]["arguments"]
        else:
            chunks = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
            deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
            calls = [call for delta in deltas for call in delta.get("tool_calls") or ()]
            first = [call["function"] for call in calls if call["index"] == 0]
            arguments = "".join(function.get("arguments") or "" for function in first)
        assert set(json.loads(arguments)) == {"hot"}


def test_log_probabilities_are_the_winners(pair):
    answer = answered(pair, best_of={"n": 5, "by": "likelihood"}, logprobs=True, top_logprobs=2)
    told = answer["motet"]["best_of"]
    entries = answer["choices"][0]["logprobs"]["content"]
    mean = sum(entry["logprob"] for entry in entries) / len(entries)
    assert mean == pytest.approx(max(told["scores"]), abs=1e-4)
    assert all(len(entry["top_logprobs"]) == 2 for entry in entries)


@pytest.mark.parametrize(
    ("fields", "param", "status"),
    [
        ({"best_of": {"n": 4}}, "best_of.by", 400),
        ({"best_of": {"n": 4, "by": "reward:judge"}}, "best_of.by", 400),
        ({"best_of": {"n": 4, "by": "shorter"}}, "best_of.by", 400),
        ({"best_of": {"n": 4, "by": "shortest:x"}}, "best_of.by", 400),
        ({"best_of": {"n": 17, "by": "likelihood"}}, "best_of.n", 400),
        ({"best_of": 4, "temperature": 0}, "temperature", 400),
        ({"best_of": {"n": 4, "by": "likelihood"}, "use_beam_search": True}, "use_beam_search", 400),
        ({"model": "toy:best-of-8"}, "model", 404),
    ],
)
def test_what_cant_be_honoured_is_named(pair, fields, param, status):
    answer = post(pair, **fields)
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param), answer.text


def test_the_owner_is_told_of_failures_without_tracebacks(pair):
    """The scorers that break here are no fault of the server's."""
    post(pair, best_of={"n": 2, "by": "broken"}, stream=True)
    assert "JudgingError" not in pair.output


def test_no_route_ignores_it(pair):
    body = {"model": "toy", "input": "Hello", "best_of": {"n": 2}}
    answer = httpx.post(f"{pair.url}/v1/responses", json=body, timeout=60)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "best_of")


def test_candidates_share_the_prompts_keys_and_values(pair):
    names = ("vllm:prefix_cache_queries_total", "vllm:prefix_cache_hits_total")
    before = [pair.metric(name) for name in names]
    prompt = "".join(chr(ord("a") + (7 * place * place + place) % 26) for place in range(4000))
    answered(pair, COMPLETIONS, prompt=prompt, max_tokens=2, best_of={"n": 8, "by": "likelihood"})
    asked, shared = (pair.metric(name) - start for name, start in zip(names, before, strict=True))
    assert asked >= 8 * 4000
    # All but the first find it there, up to the last whole block.
    assert shared >= 7 * 3800
