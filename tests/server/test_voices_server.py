"""Voices over HTTP, on the server with a pair: prompts, conversations and layers, with all that goes with a request."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from tests.servers import Server

from .conftest import CONTEXT, token_id

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
MESSAGES: list[Any] = [{"role": "user", "content": "What is 17 + 25?"}]
OTHER: list[Any] = [{"role": "system", "content": "Be wrong."}, *MESSAGES]
TEXT = "What is 17 + 25?"
NEW = {"adapter": "nobody"}


def post(server: Server, path: str = CHAT, **fields: Any) -> httpx.Response:
    prompt = {"messages": MESSAGES} if path == CHAT else {"prompt": TEXT}
    body = {"model": "toy", "temperature": 0, "max_tokens": 16, **prompt, **fields}
    return httpx.post(
        f"{server.url}{path}",
        json={name: value for name, value in body.items() if value is not None},
        timeout=300,
    )


def answered(server: Server, path: str = CHAT, **fields: Any) -> dict[str, Any]:
    answer = post(server, path, **fields)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def text(answer: dict[str, Any]) -> str:
    choice = answer["choices"][0]
    return str(choice["message"]["content"] if "message" in choice else choice["text"])


def against(voice: Any, strength: float = 2.0, **more: Any) -> dict[str, Any]:
    return {"contrast": {"against": voice, "strength": strength, "plausibility": 0.0, **more}}


@pytest.mark.parametrize(
    ("path", "voice", "tokens"),
    [
        (CHAT, {"messages": MESSAGES}, 35),
        (COMPLETIONS, {"prompt": TEXT}, 16),
        (COMPLETIONS, {"prompt": [token_id(character) for character in TEXT.replace(" ", "Ġ")]}, 16),
    ],
    ids=["messages", "text", "tokens"],
)
def test_a_voice_that_reads_what_the_answer_reads_changes_nothing(pair, path, voice, tokens):
    """(1 + s) e - s e = e, whatever s is: so the voice's prompt is rendered as the request's own."""
    if isinstance(voice.get("prompt"), list):
        voice = {"prompt": answered(pair, path, return_token_ids=True)["choices"][0]["prompt_token_ids"]}
    plain, asked = answered(pair, path), answered(pair, path, **against(voice))
    assert text(asked) == text(plain)
    told = asked["motet"]["contrast"]
    assert told["against"] == {"prompt_tokens": asked["usage"]["prompt_tokens"]} == {"prompt_tokens": tokens}
    assert asked["usage"] == plain["usage"]


@pytest.mark.parametrize(
    ("path", "voice"),
    [
        (CHAT, {"messages": OTHER}),
        (CHAT, {"prompt": "ab"}),
        (COMPLETIONS, {"messages": OTHER}),
        (COMPLETIONS, {"prompt": "ab"}),
        (CHAT, {"layer": 1}),
        (COMPLETIONS, {"layers": "low"}),
        (
            CHAT,
            [
                {"voice": "amateur"},
                {"voice": {"prompt": "ab"}, "weight": -0.5},
                {"voice": {"layer": 0}},
            ],
        ),
    ],
)
def test_another_voice_is_heard_streamed_or_not_and_its_words_are_told_to_nobody(pair, path, voice):
    plain, asked = answered(pair, path), answered(pair, path, **against(voice))
    assert text(asked) != text(plain)
    assert text(answered(pair, path, **against(voice))) == text(asked)
    stream = post(pair, path, stream=True, **against(voice))
    chunks = [json.loads(line[6:]) for line in stream.text.splitlines() if line.startswith("data: {")]
    parts = [choice for chunk in chunks for choice in chunk["choices"]]
    assert "".join(part.get("text") or part.get("delta", {}).get("content") or "" for part in parts) == text(
        asked
    )
    assert chunks[0]["motet"] == chunks[-1]["motet"] == asked["motet"]
    assert "Be wrong." not in json.dumps(asked)


def test_a_neutral_contrast_gives_the_bytes_of_plain_decoding(pair):
    options = {"temperature": 1.0, "seed": 7}
    neutral = answered(pair, **options, **against({"messages": OTHER}, 0.0))
    assert text(neutral) == text(answered(pair, **options))
    assert neutral["motet"]["contrast"]["against"] == {"prompt_tokens": 54}


def test_several_answers_and_prompts_are_groups_of_their_own(pair):
    fields = against({"prompt": "ab"})
    answer = answered(pair, COMPLETIONS, prompt=["ab", "cd"], n=2, temperature=1.0, seed=3, **fields)
    again = answered(pair, COMPLETIONS, prompt=["ab", "cd"], n=2, temperature=1.0, seed=3, **fields)
    texts = [choice["text"] for choice in answer["choices"]]
    assert texts == [choice["text"] for choice in again["choices"]]
    assert len(set(texts)) == 4
    alone = answered(pair, COMPLETIONS, prompt="cd", temperature=1.0, seed=3, **fields)
    assert text(alone) == texts[2]


def test_candidates_drawn_in_parts_hear_their_voices_in_every_part(pair):
    """A voice that reads what the answer reads changes nothing, as long as it has read the earlier parts too."""
    best_of = {"n": 4, "by": "likelihood", "candidates": True, "reject": {"at": [4], "share": 0.5}}
    fields = {"temperature": 1.0, "seed": 5, "ignore_eos": True, "best_of": best_of}
    plain, same, other = (
        answered(pair, **fields, **more)["motet"]["best_of"]
        for more in ({}, against({"messages": MESSAGES}), against({"messages": OTHER}))
    )
    assert (plain["rejected"], max(each["tokens"] for each in plain["texts"])) == (2, 16)
    assert same["texts"] == plain["texts"]
    assert other["texts"] != plain["texts"]


def test_grammars_and_log_probabilities_are_the_answers_own(pair):
    schema = {
        "type": "object",
        "properties": {"hot": {"type": "boolean"}},
        "required": ["hot"],
        "additionalProperties": False,
    }
    fields = {
        "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}},
        "max_tokens": 64,
        "logprobs": True,
    }
    answer = answered(pair, **fields, **against({"messages": OTHER}))
    assert set(json.loads(text(answer))) == {"hot"}
    told = {"logprobs": True, "top_logprobs": 5, "max_tokens": 1, "return_tokens_as_token_ids": True}
    plain, asked = answered(pair, **told), answered(pair, **told, **against({"prompt": "ab"}))
    first, same = (each["choices"][0]["logprobs"]["content"][0]["top_logprobs"] for each in (plain, asked))
    known = {entry["token"]: entry["logprob"] for entry in first}
    shared = [entry for entry in same if entry["token"] in known]
    assert len(shared) >= 4
    for entry in shared:
        assert entry["logprob"] == pytest.approx(known[entry["token"]], abs=1e-4)


def test_the_longest_sequence_bounds_the_answer(pair):
    voice = {"prompt": [token_id("a")] * (CONTEXT - 5)}
    short = answered(pair, max_tokens=None, ignore_eos=True, **against(voice))
    assert (short["usage"]["completion_tokens"], short["choices"][0]["finish_reason"]) == (5, "length")
    assert answered(pair, max_tokens=5, **against(voice))["motet"]
    for field in ("max_tokens", "max_completion_tokens"):
        fields = {"max_tokens": None, field: 6}
        answer = post(pair, **fields, **against(voice))
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, field), answer.text
        assert f"reads {CONTEXT - 5} of the context's {CONTEXT}" in answer.json()["error"]["message"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        (CHAT, against("base"), "contrast.against"),
        (CHAT, against(NEW), "contrast.against.adapter"),
        (CHAT, against(NEW, 0.0), "contrast.against.adapter"),
        (CHAT, against([{"voice": "amateur"}, {"voice": NEW}]), "contrast.against.1.voice.adapter"),
        (CHAT, against([{"voice": {"prompt": "a"}}] * 5), "contrast.against"),
        (CHAT, against([{"voice": "amateur", "weight": 0}]), "contrast.against"),
        (CHAT, against([]), "contrast.against"),
        (CHAT, against({"layer": 2}), "contrast.against.layer"),
        (CHAT, against({"layer": -1}), "contrast.against.layer"),
        (CHAT, against({"layers": "middle"}), "contrast.against.layers"),
        (CHAT, against({"prompt": "a" * CONTEXT}), "contrast.against.prompt"),
        (CHAT, against({"prompt": [10**6]}), "contrast.against.prompt.0"),
        (CHAT, against({"prompt": "a", "messages": MESSAGES}), "contrast.against"),
        (
            CHAT,
            against({"messages": [{"role": "user", "content": "x" * CONTEXT}]}),
            "contrast.against.messages",
        ),
        (COMPLETIONS, against({"messages": [{"content": "a"}]}), "contrast.against.messages.0"),
        (CHAT, {**against({"prompt": "a"}), "use_beam_search": True}, "use_beam_search"),
        (CHAT, {**against({"layer": 1}), "kv_transfer_params": {"a": 1}}, "kv_transfer_params"),
        (COMPLETIONS, {**against({"prompt": "a"}), "prompt_embeds": "AAAA"}, "prompt_embeds"),
        (CHAT, against({"prompt": "a"}, adapt={"by": "mood"}), "contrast.adapt"),
        (
            CHAT,
            {
                **against({"prompt": "a"}, adapt={"by": "position", "tokens": 5}),
                "temperature": 1,
                "best_of": {"n": 2, "by": "likelihood", "reject": {"at": 2}},
            },
            "contrast.adapt",
        ),
    ],
)
def test_what_can_not_be_honoured_is_refused_naming_the_voice(pair, path, fields, param, stream):
    answer = post(pair, path, stream=stream, **fields)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), answer.text


def test_requests_are_counted_by_kind_of_voice(pair):
    kinds = ("prompt", "messages", "layer", "several", "amateur")

    def counted() -> list[float]:
        return [pair.metric("motet_contrast_requests_total", against=kind) for kind in kinds]

    before = counted()
    several = [{"voice": "amateur"}, {"voice": {"layer": 1}}]
    for voice in ({"prompt": "a"}, {"messages": OTHER}, {"layer": 0}, several, "amateur"):
        answered(pair, max_tokens=1, **against(voice))
    assert [after - was for after, was in zip(counted(), before, strict=True)] == [1] * 5
