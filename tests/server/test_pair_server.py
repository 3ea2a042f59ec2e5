"""A real server with an expert and an amateur, spoken to as clients speak to it."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import openai
import pytest
from tests.servers import Server, needs_curl, pasted, wait_for

from motet_decoding.contrast import Contrast

from .conftest import CONTEXT, token_id

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
MESSAGES: list[Any] = [{"role": "user", "content": "What is 17 + 25?"}]
CHOICES = 8
#: How long, in seconds, a busy machine may take over what a free one does at once; more only delays a failure.
PATIENCE = 300
STRONG = {"strength": 2.0, "plausibility": 0.01, "form": "ratio"}
TOLD = {"contrast": Contrast().model_dump()}
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"city": {"enum": ["Rome", "Oslo"]}, "hot": {"type": "boolean"}},
            "required": ["city", "hot"],
            "additionalProperties": False,
        },
    },
}
#: A random model may write blanks for ever where a tool's grammar lets it.
NO_BLANKS = {str(token_id(blank)): -100 for blank in " \t\n\r"}


@pytest.fixture(scope="module")
def server(pair: Server) -> Server:
    return pair


@pytest.fixture(scope="module")
def client(server: Server) -> openai.OpenAI:
    return server.client()


@pytest.fixture
def post(server: Server) -> Iterator[Callable[..., httpx.Response]]:
    with server.http() as http:
        yield http.post


def chat(client: openai.OpenAI, model: str = "toy", contrast: Any = None, **options: Any) -> Any:
    extra = {} if contrast is None else {"extra_body": {"contrast": contrast}}
    settings = {"messages": MESSAGES, "temperature": 0, "max_tokens": 24, **options}
    return client.chat.completions.create(model=model, **settings, **extra)


def text(answer: Any) -> str:
    return answer.choices[0].message.content


def told(answer: Any) -> Any:
    return (answer.model_extra or {}).get("motet")


# What people see


def start_block(server):
    # It is printed once the server answers, so it may come a moment after the first answer.
    wait_for(lambda: "curl " in server.output)
    # Behind it stands what vLLM has logged of other tests' requests.
    return server.output[server.output.index("motet 0") :].split("\n(APIServer", 1)[0]


def test_the_start_block_names_what_is_served(server, models):
    block = start_block(server)
    for shown in (str(models.expert), str(models.amateur), "toy:contrast", "toy:strong", f"{server.url}/v1"):
        assert shown in block
    assert "WARNING" not in server.output


@needs_curl
def test_the_start_blocks_curl_works_as_pasted(server):
    block = start_block(server)
    assert json.loads(pasted(block[block.index("curl ") :]))["motet"] == TOLD


def test_presets_are_listed_as_models_under_every_name_and_answer_to_it(client):
    cards = {card.id: card for card in client.models.list()}
    presets = ["toy:contrast", "toy:strong", "alias:contrast", "alias:strong"]
    assert list(cards) == ["toy", "alias", *presets]
    for name in presets:
        assert (cards[name].root, cards[name].parent) == (name.split(":")[0],) * 2
        answer = chat(client, name, max_tokens=1)
        assert (answer.model, told(answer) is None) == (name, False)


def test_the_api_pages_describe_the_field(server):
    schemas = httpx.get(f"{server.url}/openapi.json").json()["components"]["schemas"]
    for body in ("ChatCompletionRequest", "CompletionRequest"):
        properties = schemas[body]["properties"]["contrast"]["anyOf"][0]["properties"]
        assert set(properties) == set(Contrast.model_fields)


# The contract


def test_a_contrast_changes_the_answer_and_a_plain_request_hears_nothing_of_it(client):
    plain, asked = chat(client), chat(client, contrast=STRONG)
    assert told(plain) is None
    assert told(asked) == {"contrast": Contrast(**STRONG).model_dump()}
    assert text(plain) != text(asked)
    assert text(asked) == text(chat(client, contrast=STRONG))


@pytest.mark.parametrize(
    ("model", "contrast", "expected"),
    [
        ("toy", True, Contrast()),
        ("toy:contrast", None, Contrast()),
        ("alias:contrast", None, Contrast()),
        ("toy:strong", None, Contrast(**STRONG)),
        ("toy:strong", {"strength": 1.0}, Contrast(**{**STRONG, "strength": 1.0})),
        ("toy:strong", False, None),
        ("alias", None, None),
    ],
)
def test_a_model_name_and_a_field_ask_for_the_same(client, model, contrast, expected):
    answer = chat(client, model, contrast)
    assert answer.model == model
    assert told(answer) == (None if expected is None else {"contrast": expected.model_dump()})
    assert text(answer) == text(chat(client, "toy", False if expected is None else expected.model_dump()))


def test_neutral_settings_give_the_bytes_of_plain_decoding(client):
    neutral = {"strength": 0.0, "plausibility": 0.0}
    for options in ({}, {"temperature": 1.0, "seed": 7}):
        answer = chat(client, contrast=neutral, **options)
        assert text(answer) == text(chat(client, **options))
        assert told(answer)["contrast"]["strength"] == 0.0


@pytest.mark.parametrize("contrast", [None, STRONG])
def test_a_stream_is_the_unstreamed_answer_and_says_what_was_applied_first_and_last(client, contrast):
    whole = chat(client, contrast=contrast)
    chunks = list(chat(client, contrast=contrast, stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1]) == text(whole)
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    for chunk in (chunks[0], chunks[-2], chunks[-1]):
        assert told(chunk) == told(whole)
    assert not any(told(chunk) for chunk in chunks[1:-2])


def test_completions_know_the_field_too_streamed_or_not(client):
    options = {"prompt": ["ab", "cd"], "temperature": 0, "max_tokens": 12}
    plain = client.completions.create(model="toy", **options)
    whole = client.completions.create(model="toy:strong", **options)
    assert (whole.model, told(whole)) == ("toy:strong", {"contrast": Contrast(**STRONG).model_dump()})
    assert [choice.text for choice in whole.choices] != [choice.text for choice in plain.choices]
    streamed = ["", ""]
    chunks = list(client.completions.create(model="toy:strong", stream=True, **options))
    for chunk in chunks:
        assert chunk.model == "toy:strong"
        streamed[chunk.choices[0].index] += chunk.choices[0].text
    assert streamed == [choice.text for choice in whole.choices]
    assert told(chunks[0]) == told(chunks[-1]) == told(whole)


def test_plain_and_contrast_requests_answer_in_one_batch_as_they_do_alone(client):
    kinds = [None, STRONG, {"strength": 1.0}, None] * 4
    prompts = [
        [{"role": "user", "content": f"{index} and {'so on ' * index}"}] for index in range(len(kinds))
    ]

    def answer(kind: Any, prompt: Any) -> str:
        return text(chat(client, contrast=kind, messages=prompt))

    alone = list(map(answer, kinds, prompts))
    with ThreadPoolExecutor(len(kinds)) as pool:
        together = list(pool.map(answer, kinds, prompts))
    assert together == alone


# What the official client can ask for beside it


def test_logprobs_are_the_experts_own(client):
    def first(contrast: Any) -> dict[str, float]:
        extra = {"return_tokens_as_token_ids": True, "contrast": contrast}
        answer = chat(client, logprobs=True, top_logprobs=8, max_tokens=1, extra_body=extra)
        return {entry.token: entry.logprob for entry in answer.choices[0].logprobs.content[0].top_logprobs}

    plain, asked = first(False), first(STRONG)
    assert max(plain, key=plain.__getitem__) in asked
    # The chosen token takes one of the eight places, whatever its rank.
    assert len(plain.keys() & asked.keys()) >= 7
    for token in plain.keys() & asked.keys():
        assert asked[token] == pytest.approx(plain[token], abs=1e-4)


def test_echoed_prompts_have_the_experts_logprobs(client):
    options = {"prompt": "abcdef", "echo": True, "logprobs": 1, "temperature": 0, "max_tokens": 2}
    plain, asked = (
        client.completions.create(model=name, **options).choices[0].logprobs.token_logprobs[1:6]
        for name in ("toy", "toy:strong")
    )
    assert asked == pytest.approx(plain, abs=1e-4)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "weather"}}])
def test_tools_are_called_with_arguments_of_their_schema(client, choice, stream):
    options = {"tools": [TOOL], "tool_choice": choice, "logit_bias": NO_BLANKS, "max_tokens": 200}
    answer = chat(client, contrast=STRONG, stream=stream, **options)
    if stream:
        parts = [call for chunk in answer for one in chunk.choices for call in one.delta.tool_calls or []]
        first = [part.function for part in parts if part.index == 0]  # a model may make more calls than one
        name = "".join(part.name or "" for part in first)
        arguments = "".join(part.arguments or "" for part in first)
    else:
        call = answer.choices[0].message.tool_calls[0]
        name, arguments = call.function.name, call.function.arguments
    assert name == "weather"
    found = json.loads(arguments)
    assert found["city"] in {"Rome", "Oslo"}
    assert isinstance(found["hot"], bool)


def test_a_json_schema_is_kept(client):
    schema = TOOL["function"]["parameters"]
    answer = chat(
        client,
        contrast=STRONG,
        max_tokens=200,
        response_format={"type": "json_schema", "json_schema": {"name": "weather", "schema": schema}},
    )
    assert set(json.loads(text(answer))) == {"city", "hot"}


def test_several_choices_differ_and_a_seed_repeats_them(client):
    options = {"n": 3, "temperature": 1.5, "seed": 11}
    answers = [chat(client, contrast=STRONG, **options) for _ in range(2)]
    first, again = ([choice.message.content for choice in answer.choices] for answer in answers)
    assert first == again
    assert len(set(first)) > 1


# What can't be honoured

BAD: list[tuple[str, dict[str, Any], str, int]] = [
    (CHAT, {"contrast": {"strenght": 1}}, "contrast.strenght", 400),
    (CHAT, {"contrast": {"strength": "1"}}, "contrast.strength", 400),
    (CHAT, {"contrast": {"strength": -0.1}}, "contrast.strength", 400),
    (CHAT, {"contrast": {"strength": 1e6}}, "contrast.strength", 400),
    (CHAT, {"contrast": {"plausibility": 1.5}}, "contrast.plausibility", 400),
    (CHAT, {"contrast": {"form": "divide"}}, "contrast.form", 400),
    (CHAT, {"contrast": {"amateur_temperature": 0}}, "contrast.amateur_temperature", 400),
    (CHAT, {"contrast": {"against": "base"}}, "contrast.against", 400),
    (CHAT, {"contrast": [1]}, "contrast", 400),
    (CHAT, {"contrast": True, "use_beam_search": True}, "use_beam_search", 400),
    (CHAT, {"model": "toy:strong", "use_beam_search": True}, "use_beam_search", 400),
    (CHAT, {"contrast": True, "kv_transfer_params": {"a": 1}}, "kv_transfer_params", 400),
    (COMPLETIONS, {"contrast": True, "prompt_embeds": "AAAA"}, "prompt_embeds", 400),
    (CHAT, {"best_of": 4}, "best_of.by", 400),
    (COMPLETIONS, {"best_of": "4"}, "best_of", 400),
    (CHAT, {"contrst": True}, "contrst", 400),
    (CHAT, {"guided_json": {}}, "guided_json", 400),
    (CHAT, {"functions": [{"name": "f"}]}, "functions", 400),
    (CHAT, {"vllm_xargs": {"motet-1": "x"}}, "vllm_xargs.motet-1", 400),
    (CHAT, {"messages": []}, "messages", 400),
    (CHAT, {"messages": None}, "messages", 400),
    (CHAT, {"messages": [5]}, "messages.0", 400),
    (CHAT, {"messages": [{"role": "user", "content": "x" * (CONTEXT + 1)}]}, "messages", 400),
    (COMPLETIONS, {"prompt": "x" * (CONTEXT + 1)}, "prompt", 400),
    (COMPLETIONS, {"prompt": []}, "prompt", 400),
    (COMPLETIONS, {"prompt": [[]]}, "prompt", 400),
    (COMPLETIONS, {"prompt": [10**6]}, "prompt", 400),
    (CHAT, {"model": "nobody"}, "model", 404),
    (CHAT, {"model": "nobody:contrast"}, "model", 404),
    (CHAT, {"model": "toy:nothing"}, "model", 404),
    (COMPLETIONS, {"model": "nobody:strong"}, "model", 404),
    (CHAT, {"model": "toy:strong:strong"}, "model", 404),
    (CHAT, {"model": ":strong"}, "model", 404),
    (CHAT, {"model": 5}, "model", 400),
    (CHAT, {"temperature": -1}, "temperature", 400),
    (CHAT, {"temperature": "hot"}, "temperature", 400),
    (CHAT, {"n": 0}, "n", 400),
    (CHAT, {"n": 10**6}, "n", 400),
    (CHAT, {"max_tokens": 10**6}, "max_tokens", 400),
    (CHAT, {"min_tokens": 10**6}, "min_tokens", 400),
    (CHAT, {"seed": 2**63 - 1, "n": 2}, "seed", 400),
    (COMPLETIONS, {"n": 1025}, "n", 400),
    (COMPLETIONS, {"prompt": ["a"] * 10_000}, "prompt", 400),
    (COMPLETIONS, {"prompt": ["a"] * 600, "n": "2"}, "n", 400),
    (COMPLETIONS, {"logprobs": 10**5}, "logprobs", 400),
    (CHAT, {"logprobs": True, "top_logprobs": 10**5}, "top_logprobs", 400),
    (CHAT, {"prompt_logprobs": 10**5}, "prompt_logprobs", 400),
    (CHAT, {"stop": ["a", "b", "c", "d", "e"]}, "stop", 400),
    (CHAT, {"stop_token_ids": [1] * 1000}, "stop_token_ids", 400),
    (CHAT, {"allowed_token_ids": [1] * 2000}, "allowed_token_ids", 400),
    (CHAT, {"bad_words": ["x" * 5000]}, "bad_words", 400),
    (CHAT, {"bad_words": ["x"] * 5 + [f"{number}" for number in range(200)]}, "bad_words", 400),
    (CHAT, {"logit_bias": {str(token): 1 for token in range(2000)}}, "logit_bias", 400),
    (CHAT, {"logit_bias": {"99999": 1}}, "logit_bias", 400),
    (CHAT, {"structured_outputs": "x"}, "structured_outputs", 400),
    (CHAT, {"structured_outputs": {"regex": "(("}}, "structured_outputs", 400),
    (CHAT, {"chat_template": "{{ messages }}"}, "chat_template", 400),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("path", "fields", "field", "status"), BAD)
def test_what_cannot_be_honoured_is_refused_naming_the_field(post, path, fields, field, status, stream):
    prompt = {"messages": MESSAGES} if path == CHAT else {"prompt": "ab"}
    answer = post(path, json={"model": "toy", "max_tokens": 2, "stream": stream, **prompt, **fields})
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert (error["param"], error["code"]) == (field, status)
    assert error["message"]
    assert error["type"]


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ('{"model": ', "body"),
        ("[]", "body"),
        ("", "body"),
        ("[" * 100_000, "body"),
        ("[" * 80_000 + "]" * 80_000, "body"),
        ('{"messages": ' + "[" * 500 + "]" * 500 + "}", "messages"),
        (
            '{"messages": [{"role": "user", "content": "a"}], "contrast": {"strength": NaN}}',
            "contrast.strength",
        ),
        (
            '{"messages": [{"role": "user", "content": "a"}], "contrast": {"strength": Infinity}}',
            "contrast.strength",
        ),
        ('{"messages": [{"role": "user", "content": "a"}], "top_p": NaN}', "top_p"),
    ],
)
@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
def test_a_broken_body_is_the_clients_fault(post, path, content, field):
    answer = post(path, content=content, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, field)


SOUND = json.dumps({"model": "toy", "messages": MESSAGES, "prompt": "ab", "max_tokens": 2}).encode()
JSON_TYPE = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    "path", [CHAT, COMPLETIONS, "/tokenize", "/v1/responses", "/v1/messages", "/invocations"]
)
@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (SOUND, {}, 400),
        (SOUND, {"Content-Type": "text/plain"}, 400),
        (SOUND, {"Content-Type": "application/x-www-form-urlencoded"}, 400),
        (gzip.compress(SOUND), {**JSON_TYPE, "Content-Encoding": "gzip"}, 400),
        (SOUND.replace(b"ab", "é".encode("latin-1")), JSON_TYPE, 400),
        (b"\x00\xff" * 100, JSON_TYPE, 400),
        (SOUND[:-1], JSON_TYPE, 400),
        ([b" " * 10_000] * 30, JSON_TYPE, 413),
    ],
    ids=["untyped", "text", "form", "gzip", "latin-1", "binary", "cut", "chunked"],
)
def test_a_body_that_cannot_be_read_is_refused_in_openais_words_on_every_route(
    post, path, content, headers, status
):
    answer = post(path, content=content, headers=headers)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["message"]
    assert (error["code"], "param" in error, "type" in error) == (status, True, True)
    if path in {CHAT, COMPLETIONS}:
        assert error["param"] == "body"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/nothing", 404), ("POST", "/v1/nothing", 404), ("GET", CHAT, 405)],
)
def test_a_path_or_method_that_is_not_there_is_said_in_openais_words(server, method, path, status):
    answer = httpx.request(method, f"{server.url}{path}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, status)
    assert ("allow" in answer.headers) == (status == 405)


@pytest.mark.parametrize("size", [200_001, 10_000_000])
def test_a_body_over_the_servers_limit_is_refused(post, size):
    answer = post(CHAT, content=b" " * size, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (413, "body")


@pytest.mark.parametrize(
    "path",
    ["/v1/responses", "/v1/messages", "/v1/chat/completions/batch", "/invocations", "/generative_scoring"],
)
@pytest.mark.parametrize("key", ["contrast", r"\u0063ontras\u0074"])
def test_routes_that_would_ignore_a_contrast_refuse_it(post, path, key):
    body = json.dumps({"model": "toy", "input": "a", "messages": MESSAGES, "max_tokens": 2, "contrast": True})
    content = body.replace("contrast", key)
    answer = post(path, content=content, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "contrast")
    assert CHAT in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("path", "fields", "field"),
    [
        ("/invocations", {"prompt": ["ab"] * 600, "n": 2}, "n"),
        ("/invocations", {"messages": MESSAGES, "stop_token_ids": [1] * 1000}, "stop_token_ids"),
        ("/v1/chat/completions/batch", {"messages": [MESSAGES] * 2, "n": 600}, "n"),
        (
            "/v1/responses",
            {"input": "a", "logit_bias": {str(token): 1 for token in range(2000)}},
            "logit_bias",
        ),
    ],
)
def test_vllms_own_routes_give_no_more_than_ours(post, path, fields, field):
    answer = post(path, json={"model": "toy", "max_tokens": 2, **fields})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, field)


@pytest.mark.parametrize("value", ["x", {}, [5], -1, 1e-300, 1e300, 2**31, 2**63 - 1, 2**70], ids=str)
@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
def test_no_value_of_any_field_breaks_the_server(server, post, path, value):
    name = "ChatCompletionRequest" if path == CHAT else "CompletionRequest"
    fields = httpx.get(f"{server.url}/openapi.json").json()["components"]["schemas"][name]["properties"]
    assert len(fields) > 40
    prompt = {"messages": MESSAGES} if path == CHAT else {"prompt": "ab"}
    for field in fields:
        answer = post(path, json={"model": "toy", "max_tokens": 1, **prompt, field: value})
        assert answer.status_code in {200, 400, 404}, (field, answer.text)
        if answer.status_code != 200:
            assert answer.json()["error"]["param"], (field, answer.text)


def test_after_all_that_the_server_still_answers(client):
    assert told(chat(client, contrast=True)) == TOLD


# What is counted


def test_contrast_requests_and_their_tokens_are_counted_streamed_or_not(server, client):
    def counted() -> list[float]:
        return [
            server.metric("motet_contrast_requests_total", route="chat", form="ratio", preset="strong"),
            server.metric("motet_contrast_requests_total", route="chat", form="extrapolate", preset="none"),
            server.metric("motet_contrast_tokens_total", route="chat"),
            server.metric("motet_request_errors_total", route="chat", status="400", field="contrast"),
            server.metric("motet_request_errors_total", route="chat", status="400", field="unknown"),
        ]

    before = counted()
    chat(client, "toy:strong", max_tokens=5, extra_body={"ignore_eos": True})
    list(chat(client, max_tokens=7, stream=True, extra_body={"contrast": True, "ignore_eos": True}))
    chat(client, max_tokens=9)
    for field in ({"contrast": "x"}, {"never_heard_of": 1}):
        with pytest.raises(openai.BadRequestError):
            chat(client, extra_body=field)
    assert [after - was for after, was in zip(counted(), before, strict=True)] == [1, 1, 12, 1, 1]
    assert "never_heard_of" not in httpx.get(f"{server.url}/metrics").text


# Clients that leave


@pytest.mark.parametrize("contrast", [False, True])
@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_frees_its_request(server, stream, contrast):
    body = {
        "model": "toy",
        "messages": MESSAGES,
        "n": CHOICES,
        "max_tokens": CONTEXT - 200,
        "ignore_eos": True,
        "stream": stream,
        "contrast": contrast,
    }

    def running() -> float:
        return server.metric("vllm:num_requests_running")

    async def leave_while_it_runs() -> None:
        async with httpx.AsyncClient(base_url=server.url, timeout=None) as http:
            waiting = asyncio.create_task(drain(http, body))
            await asyncio.to_thread(wait_for, lambda: waiting.done() or running() == CHOICES, PATIENCE)
            assert not waiting.done(), "the request ended before its client could leave"
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)

    generated = server.metric("vllm:generation_tokens_total")
    asyncio.run(leave_while_it_runs())
    wait_for(lambda: running() == 0, PATIENCE)
    # Not all that was asked for, so it was the leaving that ended them.
    assert server.metric("vllm:generation_tokens_total") - generated < 0.9 * CHOICES * (CONTEXT - 200)


async def drain(http: httpx.AsyncClient, body: dict[str, Any]) -> None:
    """Reads the whole answer; cancelling it closes the connection."""
    async with http.stream("POST", CHAT, json=body) as answer:
        assert answer.status_code == 200
        async for _ in answer.aiter_bytes():
            pass
