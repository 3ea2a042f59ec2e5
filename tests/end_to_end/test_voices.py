"""Every kind of voice over HTTP on the bundled models: against the plain loop, and what clients see of it."""

from __future__ import annotations

import asyncio
import json

import httpx
import openai
import pytest
from tests.end_to_end.choosing import PROBLEMS, STORE, plain_ids, tokenizer
from tests.end_to_end.speaking import BASE, COUNTER, DPO, KINDS, SFT, answered, chat_tokens
from tests.servers import wait_for

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

TOKENS, PLACES = 20, 2
SCHEMA = {
    "type": "object",
    "properties": {"colour": {"enum": ["red", "blue"]}, "sure": {"type": "boolean"}},
    "required": ["colour", "sure"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def reference():
    return {
        (place, kind): answered(problem, kind, TOKENS)
        for place, problem in enumerate(PROBLEMS[:PLACES])
        for kind in (None, *KINDS)
    }


def body(kind, problem=PROBLEMS[0], **fields):
    model, contrast = KINDS[kind]
    return {
        "model": model,
        "messages": problem.messages(),
        "temperature": 0,
        "max_tokens": TOKENS,
        "contrast": contrast,
        **fields,
    }


def post(server, asked, path="chat/completions"):
    return httpx.post(f"{server.url}/v1/{path}", json=asked, timeout=120)


def ask(server, kind, problem=PROBLEMS[0], **fields):
    answer = post(server, body(kind, problem, **fields))
    assert answer.status_code == 200, answer.text
    return answer.json()


def texts(answer):
    return [choice["message"]["content"] for choice in answer["choices"]]


def is_idle(server):
    """Whether the engine holds nothing; it tells so after a step, so one is run."""
    post(server, {"model": BASE, "prompt": [5], "max_tokens": 1}, "completions").raise_for_status()
    names = ("num_requests_running", "num_requests_waiting", "kv_cache_usage_perc")
    return not any(server.metric(f"vllm:{name}") for name in names)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_answers_are_those_of_the_plain_loop(bundled, reference, stream):
    async def run():
        async with openai.AsyncOpenAI(base_url=f"{bundled.url}/v1", api_key="none", max_retries=0) as client:

            async def one(place, kind):
                model, contrast = (SFT, None) if kind is None else KINDS[kind]
                answer = await client.chat.completions.create(
                    model=model,
                    messages=PROBLEMS[place].messages(),
                    temperature=0,
                    max_tokens=TOKENS,
                    stream=stream,
                    extra_body={"contrast": contrast, "ignore_eos": True, "return_token_ids": True},
                )
                if not stream:
                    return answer.choices[0].model_extra["token_ids"]
                chunks = [chunk.choices[0].model_extra async for chunk in answer]
                return [token for told in chunks for token in told.get("token_ids") or ()]

            return await asyncio.gather(*(one(*asked) for asked in reference))

    assert dict(zip(reference, asyncio.run(run()), strict=True)) == reference


def test_the_voices_change_answers_or_the_comparison_would_prove_nothing(reference):
    places = range(PLACES)
    answers = {tuple(tuple(reference[place, kind]) for place in places) for kind in (None, *KINDS)}
    assert len(answers) == 1 + len(KINDS)


def test_an_answer_tells_its_voices_and_counts_the_leaders_tokens_alone(bundled):
    answer = ask(bundled, "all kinds")
    told = answer["motet"]["contrast"]
    assert told["strength"] == 2.0
    assert [each["weight"] for each in told["against"]] == [0.5, 0.5, -0.2, 0.2]
    assert told["against"][1]["voice"] == {"prompt_tokens": len(chat_tokens(COUNTER["messages"]))}
    assert told["against"][2]["voice"]["adapter"] == STORE.get(DPO).reference
    plain = post(
        bundled, {key: value for key, value in body("all kinds").items() if key != "contrast"}
    ).json()
    assert answer["usage"]["prompt_tokens"] == plain["usage"]["prompt_tokens"]
    assert 1 <= answer["usage"]["completion_tokens"] <= TOKENS


def test_completions_take_voices_too(bundled):
    asked = {
        "model": SFT,
        "prompt": chat_tokens(PROBLEMS[0].messages()),
        "temperature": 0,
        "max_tokens": TOKENS,
    }
    for kind in ("base", "tokens"):
        model, contrast = KINDS[kind]
        answer = post(bundled, {**asked, "model": model, "contrast": contrast}, "completions").json()
        assert answer["choices"][0]["text"] == texts(ask(bundled, kind))[0]


def test_several_answers_are_those_of_their_seeds_and_streams_repeat_them(bundled):
    draw = {"temperature": 1.5, "n": 3, "seed": 21, "ignore_eos": True}
    for kind in ("base", "all kinds"):
        first, again = (texts(ask(bundled, kind, **draw)) for _ in range(2))
        assert first == again
        assert len(set(first)) > 1
        stream = httpx.post(
            f"{bundled.url}/v1/chat/completions", json=body(kind, **draw, stream=True), timeout=120
        )
        streamed = ["", "", ""]
        for line in stream.raise_for_status().text.splitlines():
            if line.startswith("data: {"):
                for choice in json.loads(line[6:])["choices"]:
                    streamed[choice["index"]] += choice["delta"].get("content") or ""
        assert streamed == first


def test_candidates_of_best_of_are_drawn_by_groups(bundled):
    _, contrast = KINDS["base"]
    problem = PROBLEMS[1]
    drawn = {"temperature": 1.5, "ignore_eos": True}
    best_of = {"n": 3, "by": "likelihood", "candidates": True}
    asked = body("base", problem, max_tokens=32, seed=11, best_of=best_of) | drawn
    answer = post(bundled, asked)
    assert answer.status_code == 200, answer.text
    told = answer.json()["motet"]["best_of"]
    alone = [plain_ids(bundled, problem, index, contrast=contrast, **drawn)[1] for index in range(3)]
    assert [each["text"] for each in told["texts"]] == alone
    assert len(set(alone)) > 1


@pytest.mark.parametrize("kind", ["messages", "all kinds", "low layers"])
def test_a_schema_is_kept(bundled, kind):
    asked = {"type": "json_schema", "json_schema": {"name": "colour", "schema": SCHEMA}}
    # Where a schema lets it, a model of the gym writes blanks for ever.
    blanks = {str(token): -100 for token in range(768) if tokenizer().decode([token]).strip(" \n\t\r") == ""}
    answer = ask(bundled, kind, response_format=asked, max_tokens=200, logit_bias=blanks)
    assert set(json.loads(texts(answer)[0])) == {"colour", "sure"}


@pytest.mark.parametrize(
    ("model", "contrast", "field", "message"),
    [
        (BASE, {"against": "base"}, "contrast.against", "nothing to contrast with"),
        (SFT, {"against": {"adapter": "nobody"}}, "contrast.against.adapter", "no adapter 'nobody'"),
        (SFT, {"against": {"adapter": "motet-reward"}}, "contrast.against.adapter", "writes no text"),
        (SFT, {"against": {"adapter": SFT}}, "contrast.against.adapter", "itself answers"),
        (SFT, {"against": {"layer": 5}}, "contrast.against.layer", "below 5"),
        (SFT, {"against": {"prompt": [768]}}, "contrast.against.prompt.0", "below 768"),
        (SFT, {"against": {"prompt": [5] * 1024}}, "contrast.against.prompt", "room for"),
        (SFT, {"against": [{"voice": {"layer": 1}}] * 5}, "contrast.against", "hears 4"),
        (
            SFT,
            {"against": [{"voice": "base", "weight": float("nan")}]},
            "contrast.against.0.weight",
            "finite",
        ),
        (SFT, {"against": {"prompt": [5] * 1010}}, "max_tokens", "at most 14"),
    ],
)
def test_what_cannot_be_heard_is_named(bundled, model, contrast, field, message):
    asked = {"model": model, "messages": PROBLEMS[0].messages(), "max_tokens": TOKENS, "contrast": contrast}
    answer = httpx.post(
        f"{bundled.url}/v1/chat/completions",
        content=json.dumps(asked),
        headers={"Content-Type": "application/json"},
        timeout=60,
    )
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error" or error["type"] == "BadRequestError"
    assert error["param"] == field, error
    assert message in error["message"]


def test_clients_that_go_away_leave_nothing_behind(bundled):
    before = texts(ask(bundled, "all kinds"))

    async def leave():
        async with httpx.AsyncClient(base_url=bundled.url, timeout=120) as client:

            async def one(kind):
                asked = body(kind, stream=True, max_tokens=400, ignore_eos=True)
                async with client.stream("POST", "/v1/chat/completions", json=asked) as answer:
                    assert answer.status_code == 200, await answer.aread()
                    async for line in answer.aiter_lines():
                        if line.startswith("data: {"):
                            return

            await asyncio.gather(*(one(kind) for kind in KINDS))

    asyncio.run(leave())
    wait_for(lambda: is_idle(bundled), 60)
    assert texts(ask(bundled, "all kinds")) == before
