"""Best-of-N over HTTP on the bundled models: what a client sees of it, and what it must not see."""

from __future__ import annotations

import asyncio
import json

import httpx
import openai
import pytest
from tests.end_to_end.choosing import (
    DRAW,
    PROBLEMS,
    WRITER,
    ask,
    content,
)
from tests.servers import wait_for

pytestmark = pytest.mark.engine


def chunks(bundled, path, **fields):
    """A stream's, but for what differs from answer to answer."""
    body = {"model": WRITER, "stream": True, "stream_options": {"include_usage": True}, **DRAW, **fields}
    text = httpx.post(f"{bundled.url}/v1/{path}", json=body, timeout=120).raise_for_status().text
    found = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
    return [{k: v for k, v in each.items() if k not in ("id", "created", "motet")} for each in found]


def test_one_candidate_is_plain_decoding(bundled):
    for fields in ({}, {"temperature": 0}, {"logprobs": True, "top_logprobs": 2}):
        for problem in PROBLEMS[:3]:
            plain, best = ask(bundled, problem, **fields), ask(bundled, problem, {"n": 1}, **fields)
            assert best["choices"] == plain["choices"]
            assert best["usage"] == plain["usage"]


def test_one_candidate_streams_as_plain_decoding_does(bundled):
    one = {"best_of": {"n": 1, "by": "likelihood"}}
    messages = {"messages": PROBLEMS[0].messages(), "logprobs": True, "top_logprobs": 2}
    prompt = {"prompt": "What is 1 + 5?\n", "logprobs": 1, "echo": True}
    for path, fields in (("chat/completions", messages), ("completions", prompt)):
        plain = chunks(bundled, path, **fields)
        assert len(plain) > 3
        assert chunks(bundled, path, **fields, **one) == plain


def test_the_same_request_is_chosen_the_same_in_any_company(bundled):
    body = {"n": 8, "by": "vote:reward", "return": 3, "candidates": True}
    alone = ask(bundled, PROBLEMS[0], body)

    async def crowd():
        async with httpx.AsyncClient(base_url=bundled.url, timeout=300) as client:
            asked = {"model": WRITER, "messages": PROBLEMS[0].messages(), **DRAW, "best_of": body}
            return await asyncio.gather(*(client.post("/v1/chat/completions", json=asked) for _ in range(6)))

    for answer in asyncio.run(crowd()):
        told = answer.json()
        assert told["motet"] == alone["motet"]
        assert told["choices"] == alone["choices"]


def test_a_stream_is_the_winner_and_counts_everybody(bundled):
    problem = PROBLEMS[0]
    best_of = {"n": 6, "by": "reward", "provisional": True}
    whole = ask(bundled, problem, {**best_of, "provisional": False})
    stream = bundled.client().chat.completions.create(
        model=WRITER,
        messages=problem.messages(),
        stream=True,
        stream_options={"include_usage": True},
        extra_body={"best_of": best_of},
        **DRAW,
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == content(whole)
    told = [chunk.model_extra["motet"]["best_of"] for chunk in chunks if chunk.model_extra.get("motet")]
    provisional = [each["provisional"] for each in told if "provisional" in each]
    scores = [each["score"] for each in provisional]
    assert scores == sorted(scores)
    assert provisional[-1]["text"] == text
    assert told[-1] == whole["motet"]["best_of"]
    assert chunks[-1].usage.completion_tokens == whole["usage"]["completion_tokens"]
    # As a plain stream comes: token by token.
    assert sum(bool(chunk.choices and chunk.choices[0].delta.content) for chunk in chunks) > 1


def test_completions_take_openais_integer_and_several_prompts(bundled):
    prompts = [f"What is {number} + 5?\n" for number in (1, 2)]
    body = {"model": WRITER, "prompt": prompts, **DRAW, "best_of": 4, "n": 2, "logprobs": 0}
    answer = httpx.post(f"{bundled.url}/v1/completions", json=body, timeout=120).raise_for_status().json()
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3]
    told = answer["motet"]["best_of"]
    assert len(told) == 2
    for place, each in enumerate(told):
        assert each["by"] == "likelihood"
        order = sorted(range(4), key=lambda index: (-each["scores"][index], index))
        assert each["choices"] == order[:2]
        logprobs = answer["choices"][2 * place]["logprobs"]["token_logprobs"]
        assert sum(logprobs) / len(logprobs) == pytest.approx(max(each["scores"]), abs=1e-4)
    assert answer["usage"]["completion_tokens"] == sum(each["tokens"] for each in told)


def test_the_preset_is_listed_and_chooses(bundled):
    client = bundled.client()
    listed = [each.id for each in client.models.list().data]
    assert {"motet-toy:best-of-8", f"{WRITER}:best-of-8"} <= set(listed)
    assert "motet-reward:best-of-8" not in listed
    answer = client.chat.completions.create(
        model=f"{WRITER}:best-of-8", messages=PROBLEMS[0].messages(), **DRAW
    )
    assert answer.model.endswith(":best-of-8")
    assert answer.model_extra["motet"]["best_of"]["n"] == 8
    # The judge of the bundled model, where nobody has named another.
    same = ask(bundled, PROBLEMS[0], {"n": 8, "by": "reward+likelihood:sum"})
    assert answer.model_extra["motet"] == same["motet"]
    assert answer.choices[0].message.content == content(same)


@pytest.mark.parametrize(
    ("best_of", "field", "status"),
    [
        ({"n": 0}, "best_of.n", 400),
        ({"n": 65}, "best_of.n", 400),
        ({"n": 4, "return": 5}, "best_of.return", 400),
        ({"n": 4, "by": "reward:nobody"}, "best_of.by", 400),
        ({"n": 4, "by": "reward:motet-sft"}, "best_of.by", 400),
        ({"n": 4, "by": "wisdom"}, "best_of.by", 400),
        ({"n": 4, "by": "implicit:nobody"}, "best_of.by", 400),
        ({"n": 4, "by": "implicit"}, "best_of.by", 400),
        ({"n": 4, "by": "likelihood:median"}, "best_of.by", 400),
        ({"n": 4, "report": ["wisdom"]}, "best_of.report.0", 400),
        ({"n": 4, "by": "vote", "vote": {"pattern": "("}}, "best_of.vote.pattern", 400),
        ({"n": 4, "by": "vote", "vote": {"pattern": "((a{500}){500}){500}"}}, "best_of.vote.pattern", 400),
        ({"n": 4, "reject": {"at": 4, "by": "wisdom"}}, "best_of.reject.by", 400),
        ({"n": 4, "reject": {"at": 4, "max_total_tokens": 5}}, "best_of.reject.max_total_tokens", 400),
    ],
)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_what_cant_be_honoured_is_an_error_that_names_it(bundled, best_of, field, status, stream):
    body = {"model": WRITER, "messages": PROBLEMS[0].messages(), **DRAW, "best_of": best_of, "stream": stream}
    answer = httpx.post(f"{bundled.url}/v1/chat/completions", json=body, timeout=60)
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, field), answer.text


def test_a_client_that_leaves_ends_every_candidate(bundled):
    body = {
        "model": WRITER,
        "messages": PROBLEMS[0].messages(),
        "best_of": {"n": 32, "by": "likelihood"},
        "ignore_eos": True,
        "max_tokens": 400,
    }
    running = "vllm:num_requests_running"
    wait_for(lambda: bundled.metric(running) == 0)
    for stream in (False, True):

        async def leave(stream=stream):
            async with httpx.AsyncClient(base_url=bundled.url, timeout=60) as client:
                asked = client.post("/v1/chat/completions", json={**body, "stream": stream})
                task = asyncio.ensure_future(asked)
                while await asyncio.to_thread(bundled.metric, running) < 32:
                    assert not task.done()
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

        asyncio.run(leave())
        wait_for(lambda: bundled.metric(running) == 0)


def test_thirty_two_at_once_beside_plain_and_contrast_traffic(bundled):
    """None is lost, and nobody's answer is another's: greedy ones are what they are alone."""
    contrast = {"strength": 0.5, "plausibility": 0.05}
    greedy = {"temperature": 0, "seed": None}
    alone = {
        kind: [content(ask(bundled, problem, **greedy, **fields)) for problem in PROBLEMS]
        for kind, fields in (("plain", {}), ("contrast", {"contrast": contrast}))
    }

    async def run():
        async with openai.AsyncOpenAI(
            base_url=f"{bundled.url}/v1", api_key="none", max_retries=0, timeout=300
        ) as client:

            async def one(problem, extra, **fields):
                answer = await client.chat.completions.create(
                    model=WRITER, messages=problem.messages(), max_tokens=32, extra_body=extra, **fields
                )
                return answer.choices[0].message.content, answer.model_extra.get("motet")

            chosen = [
                one(PROBLEMS[i % len(PROBLEMS)], {"best_of": {"n": 8, "by": "reward"}}, seed=i)
                for i in range(32)
            ]
            plain = [one(problem, None, temperature=0) for problem in PROBLEMS]
            contrasted = [one(problem, {"contrast": contrast}, temperature=0) for problem in PROBLEMS]
            return await asyncio.gather(
                asyncio.gather(*chosen), asyncio.gather(*plain), asyncio.gather(*contrasted)
            )

    chosen, plain, contrasted = asyncio.run(run())
    assert [text for text, _ in plain] == alone["plain"]
    assert [text for text, _ in contrasted] == alone["contrast"]
    for text, told in chosen:
        assert told["best_of"]["candidates"] == 8
        assert text is not None


def test_metrics_count_candidates(bundled):
    names = ("motet_candidates_total", "motet_candidates_rejected_total", "motet_candidate_tokens_total")
    before = [bundled.metric(name) for name in names]
    scored = bundled.metric("motet_scorer_seconds_count", by="reward")
    asked = bundled.metric("motet_best_of_requests_total", route="chat", by="reward")
    told = ask(bundled, PROBLEMS[0], {"n": 8, "by": "reward", "reject": {"at": 2}})["motet"]["best_of"]
    after = [bundled.metric(name) for name in names]
    assert [b - a for a, b in zip(before, after, strict=True)] == [8, told["rejected"], told["tokens"]]
    assert bundled.metric("motet_scorer_seconds_count", by="reward") > scored
    assert bundled.metric("motet_best_of_requests_total", route="chat", by="reward") == asked + 1


def test_the_description_of_the_api_knows_the_field(bundled):
    schema = json.loads(httpx.get(f"{bundled.url}/openapi.json", timeout=60).text)
    for name in ("ChatCompletionRequest", "CompletionRequest"):
        described = schema["components"]["schemas"][name]["properties"]["best_of"]
        assert "n" in described["anyOf"][0]["properties"]
