"""A real server with a pair and a watched store: versions come and go under load, and every answer is its version's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from tests.server.conftest import Models
from tests.server.making import make_lora, publish
from tests.servers import Server, running_server, wait_for

from motet_alignment.store import Adapter, AdapterStore, fingerprint
from motet_decoding.contrast import Contrast
from motet_decoding.reference import greedy_tokens
from motet_decoding.testing import CHAT_TEMPLATE, byte_tokenizer

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

CHAT = "/v1/chat/completions"
MESSAGES: list[Any] = [{"role": "user", "content": "What is 17 + 25?"}]
TOKENS = 24
CONTRAST = Contrast(strength=2.0, plausibility=0.01, form="ratio")
CONVERSATIONS = [
    [{"role": "user", "content": "What is 1 + 1?"}, {"role": "assistant", "content": answer}]
    for answer in ("2", "11, of course", "I would rather talk about the weather today.", "")
]
SHOUTING = CHAT_TEMPLATE.replace("{{ message.content }}", "{{ message.content | upper }}")


@dataclass(frozen=True)
class House:
    """A server, its store, and the folders that PEFT saved."""

    server: Server
    store: AdapterStore
    loras: dict[str, Path]
    base: Path

    def publish(self, lora: str, name: str, **options: Any) -> Adapter:
        return publish(self.store, self.loras[lora], self.base, name, **options)

    def live(self, adapter: Adapter) -> Adapter:
        wait_for(lambda: self.shown(adapter.name).get("current") == adapter.version)
        return adapter

    def shown(self, name: str) -> dict[str, Any]:
        return self.get(f"/v1/adapters/{name}")

    def get(self, path: str) -> dict[str, Any]:
        answer: dict[str, Any] = httpx.get(f"{self.server.url}{path}", timeout=60).json()
        return answer

    def version(self, adapter: Adapter) -> dict[str, Any]:
        return next(v for v in self.shown(adapter.name)["versions"] if v["version"] == adapter.version)

    def gone(self, adapter: Adapter) -> bool:
        """Whether the engine itself says that it has dropped the version."""
        listing = self.get("/v1/adapters")
        return self.version(adapter)["number"] not in listing["engine"]


@pytest.fixture(scope="module")
def house(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    root = tmp_path_factory.mktemp("house")
    loras = {str(seed): make_lora(root / f"lora-{seed}", models.expert, seed=seed) for seed in range(1, 6)}
    loras["reward"] = make_lora(root / "reward", models.expert, seed=8, reward=True)
    loras["wide"] = make_lora(root / "wide", models.expert, seed=9, rank=64)
    loras["foreign"] = make_lora(root / "foreign", models.untemplated, seed=9)
    loras["shouting"] = make_lora(root / "shouting", models.expert, seed=6)
    (loras["shouting"] / "chat_template.jinja").write_text(SHOUTING)
    store = AdapterStore(root / "store")
    publish(store, loras["1"], models.expert, "first")
    publish(store, loras["reward"], models.expert, "judge", kind="reward")
    publish(store, loras["wide"], models.expert, "wide")
    publish(store, loras["foreign"], models.untemplated, "foreign")
    arguments = [str(models.expert), "--amateur", str(models.amateur), "--served-model-name", "toy"]
    arguments += ["--dtype", "float32", "--adapters", str(store.root), "--adapter-slots", "2"]
    arguments += ["--max-adapters", "4", "--pin", "judge", "--max-adapter-bytes", "300000"]
    for server in running_server(arguments, root / "serve.log"):
        yield House(server, store, loras, models.expert)


@pytest.fixture(scope="module")
def client(house: House) -> openai.OpenAI:
    return house.server.client()


@pytest.fixture(scope="module")
def expected(house: House, models: Models) -> Any:
    """What a transformers + PEFT loop answers: 24 greedy tokens, by LoRA, prompt and contrast."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    tokenizer = byte_tokenizer()
    load = AutoModelForCausalLM.from_pretrained
    amateur = load(models.amateur, dtype=torch.float32).eval()
    voices: dict[str | None, Any] = {None: load(models.expert, dtype=torch.float32).eval()}

    def answer(
        lora: str | None,
        messages: Any = MESSAGES,
        contrast: Contrast | None = None,
        template: str = CHAT_TEMPLATE,
    ) -> list[int]:
        if lora not in voices:
            base = load(models.expert, dtype=torch.float32)
            voices[lora] = PeftModel.from_pretrained(base, house.loras[str(lora)]).eval()
        prompt = tokenizer.apply_chat_template(
            messages, chat_template=template, add_generation_prompt=True, return_dict=True
        )["input_ids"]
        return list(greedy_tokens(voices[lora], amateur, prompt, contrast, TOKENS))

    return answer


def ask(
    client: openai.OpenAI, model: str, messages: Any = MESSAGES, contrast: Any = None, **options: Any
) -> Any:
    extra: dict[str, Any] = {"ignore_eos": True, "return_token_ids": True}
    if contrast is not None:
        extra["contrast"] = contrast
    settings = {"temperature": 0, "max_tokens": TOKENS, **options}
    return client.chat.completions.create(model=model, messages=messages, extra_body=extra, **settings)


def tokens(answer: Any) -> list[int]:
    return list(answer.choices[0].model_extra["token_ids"])


def streamed(chunks: Any) -> tuple[set[str], list[int]]:
    """The models that a stream's chunks name, and its tokens."""
    named, ids = set(), []
    for chunk in chunks:
        named.add(chunk.model)
        for choice in chunk.choices:
            ids += (choice.model_extra or {}).get("token_ids") or []
    return named, ids


# What people see


def test_the_start_block_names_what_is_served_and_what_is_refused(house):
    wait_for(lambda: "curl " in house.server.output)
    block = house.server.output[house.server.output.index("motet 0") :]
    for shown in ("first@", "judge@", "(reward)", "foreign: refused", "wide: refused", "--max-lora-rank 64"):
        assert shown in block


def test_models_list_names_with_the_version_they_mean(client, house):
    cards = {card.id: card for card in client.models.list()}
    current = house.store.get("first").reference
    assert (cards["first"].root, cards["first"].parent) == (current, "toy")
    assert (cards["first:contrast"].root, cards["first:contrast"].parent) == (current, "first")
    assert "judge" in cards
    assert {"judge:contrast", "foreign", "wide"}.isdisjoint(cards)


def test_the_listing_says_where_every_version_stands(house):
    (first,) = house.shown("first")["versions"]
    assert (first["state"], first["reason"], first["in_flight"], first["current"]) == (
        "loaded",
        None,
        0,
        True,
    )
    assert house.shown("judge")["versions"][0]["pinned"] is True
    for name, reason in (
        ("foreign", "was trained on untemplated"),
        ("wide", "start the server with --max-lora-rank"),
    ):
        (version,) = house.shown(name)["versions"]
        assert (version["state"], house.shown(name)["current"]) == ("refused", None)
        assert reason in version["reason"]


# Which voice answers


def test_rows_of_adapters_base_and_contrast_in_one_batch_are_each_their_own(client, house, expected):
    second = house.live(house.publish("2", "second"))
    first = house.store.get("first").reference
    prompts = [[{"role": "user", "content": f"{number}: {'say ' * number}it"}] for number in range(4)]
    cases = [
        (model, lora, contrast, prompt)
        for prompt in prompts
        for model, lora in (("toy", None), ("first", "1"), ("second", "2"), (second.reference, "2"))
        for contrast in (None, CONTRAST)
    ]
    with ThreadPoolExecutor(len(cases)) as pool:
        answers = list(
            pool.map(lambda case: ask(client, case[0], case[3], case[2] and case[2].model_dump()), cases)
        )
    for (model, lora, contrast, prompt), answer in zip(cases, answers, strict=True):
        assert tokens(answer) == expected(lora, prompt, contrast), model
        version = {"1": first, "2": second.reference, None: None}[lora]
        told = (answer.model_extra or {}).get("motet") or {}
        assert (answer.model, told.get("adapter")) == (version or "toy", version)
        assert told.get("contrast") == (contrast and contrast.model_dump())


def test_every_answer_names_its_version_streamed_or_not(client, house):
    reference = house.store.get("first").reference
    for model, shown in (("first", reference), ("first:contrast", f"{reference}:contrast")):
        raw = client.chat.completions.with_raw_response.create(model=model, messages=MESSAGES, max_tokens=4)
        assert raw.headers["x-motet-adapter"] == reference
        assert raw.parse().model == shown
        chunks = list(ask(client, model, max_tokens=4, stream=True))
        assert {chunk.model for chunk in chunks} == {shown}
        assert chunks[0].model_extra["motet"]["adapter"] == reference
    answer = client.completions.create(model="first", prompt="Once", max_tokens=2)
    assert (answer.model, answer.model_extra["motet"]) == (reference, {"adapter": reference})


def test_other_routes_of_vllms_know_the_names_too(house, client, expected):
    reference = house.store.get("first").reference
    answer = client.responses.create(
        model="first", input=MESSAGES[0]["content"], max_output_tokens=TOKENS, temperature=0
    )
    assert answer.model == reference
    assert byte_tokenizer().decode(expected("1"), skip_special_tokens=True).startswith(answer.output_text[:5])
    with house.server.http() as http:
        shown = http.post("/tokenize", json={"model": "first", "prompt": "Hi"})
        assert (shown.json()["count"], shown.headers["x-motet-adapter"]) == (2, reference)
        refused = http.post("/v1/responses", json={"model": "judge", "input": "Hi"})
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "model")


@pytest.mark.parametrize(
    ("model", "status", "says"),
    [
        ("first@ffffff", 404, "has no version ffffff"),
        ("foreign", 400, "was trained on untemplated"),
        ("judge", 400, "POST conversations to /v1/rewards"),
        ("nobody", 404, "nobody"),
        ("first:nothing", 404, "first:nothing"),
        ("../first", 404, "../first"),
    ],
)
def test_what_cannot_answer_says_why(client, model, status, says):
    with pytest.raises(openai.APIStatusError, match=says) as error:
        ask(client, model)
    assert (error.value.status_code, error.value.body["param"]) == (status, "model")


def test_an_adapter_that_brings_its_own_template_is_asked_in_it(client, house, expected):
    house.live(house.publish("shouting", "shouting"))
    assert tokens(ask(client, "shouting")) == expected("shouting", template=SHOUTING)
    assert expected("shouting", template=SHOUTING) != expected("shouting")
    with house.server.http() as http:
        body = {"messages": MESSAGES, "return_token_strs": True}
        shouted, said = (
            "".join(http.post("/tokenize", json={"model": model, **body}).json()["token_strs"])
            for model in ("shouting", "toy")
        )
        assert "WHAT" in shouted
        assert "What" in said
        refused = http.post(
            CHAT, json={"model": "shouting", "messages": MESSAGES, "chat_template": "{{ 1 }}"}
        )
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "chat_template")


# Which voices it is held against


def swapped(gone: Any, come: Any) -> dict[str, Any]:
    """e - (g - c), which is c where g says what e says: one voice in the place of another."""
    voices = [{"voice": gone, "weight": 1.0}, {"voice": come, "weight": -1.0}]
    return {"against": voices, "strength": 1.0, "plausibility": 0.0, "form": "ratio"}


def test_each_voice_of_a_group_speaks_with_its_own_adapter_and_template(client, house, expected):
    house.live(house.publish("2", "second"))
    house.live(house.publish("shouting", "shouting"))
    own = {"messages": MESSAGES}
    cases = [
        ("first", "base", expected(None)),
        ("first", {"adapter": "second"}, expected("2")),
        ("toy", {"adapter": "first"}, expected("1")),
        ("toy", {"adapter": "shouting", **own}, expected("shouting", template=SHOUTING)),
        ("shouting", {"adapter": None, **own}, expected(None)),
    ]
    with ThreadPoolExecutor(len(cases)) as pool:
        answers = pool.map(lambda case: ask(client, case[0], contrast=swapped(own, case[1])), cases)
    for (model, voice, expects), answer in zip(cases, answers, strict=True):
        assert tokens(answer) == expects, (model, voice)


def test_an_adapter_against_its_base_is_told_with_versions_and_by_preset_of_kind(client, house):
    second = house.live(house.publish("2", "second"))
    first = house.store.get("first").reference
    contrast = {"against": {"adapter": "second"}, "strength": 2.0, "plausibility": 0.0}
    raw = client.chat.completions.with_raw_response.create(
        model="first", messages=MESSAGES, max_tokens=4, extra_body={"contrast": contrast}
    )
    assert raw.headers["x-motet-adapter"] == first
    told = raw.parse().model_extra["motet"]
    assert (told["adapter"], told["contrast"]["against"]) == (first, {"adapter": second.reference})
    kinds = [
        house.server.metric("motet_contrast_requests_total", against=kind) for kind in ("base", "adapter")
    ]
    for against in ("base", {"adapter": None}, {"adapter": "second"}):
        ask(client, "first", contrast={**contrast, "against": against}, max_tokens=1)
    assert [
        house.server.metric("motet_contrast_requests_total", against=kind) for kind in ("base", "adapter")
    ] == [kinds[0] + 2, kinds[1] + 1]


def test_a_voices_version_is_kept_until_the_answers_last_byte(client, house):
    old = house.live(house.publish("3", "voiced"))
    contrast = {"against": {"adapter": "voiced"}}
    body = {"model": "first", "messages": MESSAGES, "max_tokens": 8000, "ignore_eos": True, "stream": True}
    with (
        house.server.http() as http,
        http.stream("POST", CHAT, json={**body, "contrast": contrast}) as response,
    ):
        assert response.status_code == 200
        lines = response.iter_lines()
        assert next(lines).startswith("data: ")
        assert house.version(old)["in_flight"] == 1
        house.live(house.publish("4", "voiced"))
        assert not house.gone(old)
    wait_for(lambda: house.gone(old))


@pytest.mark.parametrize(
    ("model", "against", "status", "param", "says"),
    [
        ("toy", "base", 400, "contrast.against", "nothing to contrast with"),
        ("first", {"adapter": "first"}, 400, "contrast.against.adapter", "itself answers"),
        ("toy", {"adapter": "judge"}, 400, "contrast.against.adapter", "gives rewards"),
        ("toy", {"adapter": "foreign"}, 400, "contrast.against.adapter", "was trained on untemplated"),
        ("toy", {"adapter": "first@ffffff"}, 404, "contrast.against.adapter", "no version"),
        (
            "first",
            [{"voice": {"adapter": "second"}}, {"voice": {"adapter": "shouting"}}],
            400,
            "contrast.against",
            "--adapter-slots",
        ),
    ],
)
def test_an_adapter_that_cannot_be_a_voice_says_why(client, house, model, against, status, param, says):
    for lora, name in (("2", "second"), ("shouting", "shouting")):
        house.live(house.publish(lora, name))
    with pytest.raises(openai.APIStatusError, match=says) as error:
        ask(client, model, contrast={"against": against})
    assert (error.value.status_code, error.value.body["param"]) == (status, param)


# Swaps


def test_a_swap_under_streams_lets_them_finish_and_then_drops_the_old_version(client, house, expected):
    old = house.live(house.publish("1", "swapped"))
    before = tokens(ask(client, "swapped"))
    assert before == expected("1")
    length = 700

    def stream() -> tuple[set[str], list[int]]:
        return streamed(ask(client, "swapped", stream=True, max_tokens=length))

    with ThreadPoolExecutor(3) as pool:
        streams = [pool.submit(stream) for _ in range(3)]
        wait_for(lambda: house.version(old)["in_flight"] == 3)
        new = house.live(house.publish("2", "swapped"))
        assert house.version(old)["in_flight"] == 3, "the streams were to outlast the swap"
        assert not house.gone(old)
        after = ask(client, "swapped")  # the same prompt, whose cache holds the old version's keys and values
        assert (after.model, tokens(after)) == (new.reference, expected("2"))
        assert tokens(ask(client, "toy")) == expected(None)
        for done in streams:
            versions, answer = done.result()
            assert versions == {old.reference}
            assert answer[:TOKENS] == before
            assert len(answer) == length
    wait_for(lambda: house.gone(old))
    assert house.version(old)["state"] == "available"
    # Asked for by its version, it comes again, and answers as it did.
    assert tokens(ask(client, old.reference)) == before
    assert tokens(ask(client, "swapped")) == expected("2")


def test_a_client_that_leaves_frees_its_version(house):
    old = house.live(house.publish("3", "left"))
    body = {"model": "left", "messages": MESSAGES, "max_tokens": 8000, "ignore_eos": True, "stream": True}
    with house.server.http() as http, http.stream("POST", CHAT, json=body) as response:
        assert response.status_code == 200
        lines = response.iter_lines()  # kept: a generator that is dropped closes its response
        assert next(lines).startswith("data: ")
        wait_for(lambda: house.version(old)["in_flight"] == 1)
        house.live(house.publish("4", "left"))
        assert not house.gone(old)
    wait_for(lambda: house.version(old)["in_flight"] == 0)
    wait_for(lambda: house.gone(old))


def test_more_adapters_than_room_and_than_slots_all_answer(client, house, expected):
    references = {}
    for lora in ("1", "2", "3", "4", "5"):
        references[lora] = house.live(house.publish(lora, f"many-{lora}")).reference
    with ThreadPoolExecutor(15) as pool:
        answers = list(pool.map(lambda lora: (lora, ask(client, f"many-{lora}")), list(references) * 3))
    for lora, answer in answers:
        assert (answer.model, tokens(answer)) == (references[lora], expected(lora))
    listing = house.get("/v1/adapters")
    loaded = [v for name in listing["data"] for v in name["versions"] if v["state"] == "loaded"]
    assert len(loaded) <= listing["max_loaded"] == 4
    assert {version["number"] for version in loaded} == set(listing["engine"])
    assert "judge" in {version["reference"].split("@")[0] for version in loaded}, "it is pinned"


def test_removing_and_pruning_a_version_in_use_takes_nothing_from_its_readers(client, house, expected):
    old = house.live(house.publish("1", "pruned"))
    chunks = ask(client, "pruned", stream=True, max_tokens=700)
    start = next(iter(chunks))
    start_tokens = start.choices[0].model_extra.get("token_ids") or []
    house.live(house.publish("2", "pruned"))
    house.live(house.publish("3", "pruned"))
    house.store.remove(old.reference)
    assert not old.path.exists()
    wait_for(lambda: house.version(old)["removed"])
    named, ids = streamed(chunks)
    assert named == {start.model} == {old.reference}
    assert [*start_tokens, *ids][:TOKENS] == expected("1")
    assert len(start_tokens) + len(ids) == 700
    wait_for(lambda: old.version not in {v["version"] for v in house.shown("pruned")["versions"]})
    with pytest.raises(openai.NotFoundError):
        ask(client, old.reference)
    house.store.remove_all("pruned")
    wait_for(lambda: "pruned" not in {name["name"] for name in house.get("/v1/adapters")["data"]})


PUBLISHER = """
import sys
from pathlib import Path
from motet_alignment.store import AdapterStore, fingerprint
store, base, one, two = map(Path, sys.argv[1:])
known = fingerprint(base)
print("ready", flush=True)
while True:
    for folder in (one, two):
        AdapterStore(store).publish(folder, name="killed", kind="sft", base=known, base_folder=base)
"""


def test_publishers_killed_at_any_instant_leave_a_server_that_answers(client, house, expected):
    house.live(house.publish("1", "killed"))
    arguments = [str(path) for path in (house.store.root, house.base, house.loras["1"], house.loras["2"])]
    for _ in range(3):
        publisher = subprocess.Popen(
            [sys.executable, "-c", PUBLISHER, *arguments],
            stdout=subprocess.PIPE,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert publisher.stdout is not None
        publisher.stdout.readline()
        versions = [ask(client, "killed") for _ in range(4)]
        publisher.send_signal(signal.SIGKILL)
        publisher.wait()
        publisher.stdout.close()
        for answer in versions:
            which = "1" if tokens(answer) == expected("1") else "2"
            assert tokens(answer) == expected(which)
            assert (
                answer.model
                == publish(house.store, house.loras[which], house.base, "killed", promote=False).reference
            )
    current = house.live(house.store.get("killed"))
    assert ask(client, "killed").model == current.reference


# Over HTTP


def upload(house: House, lora: str, name: str, headers: Any = None, **fields: str) -> httpx.Response:
    folder = house.loras[lora]
    files = [
        ("files", (file, (folder / file).read_bytes()))
        for file in ("adapter_config.json", "adapter_model.safetensors")
    ]
    with house.server.http() as http:
        return http.post("/v1/adapters", data={"name": name, **fields}, files=files, headers=headers)


def test_uploaded_promoted_and_rolled_back_is_live_when_it_is_answered(client, house, expected):
    versions = []
    for lora in ("1", "2"):
        answer = upload(house, lora, "sent")
        assert (answer.status_code, answer.json()["live"]) == (201, True)
        versions.append(answer.json()["version"])
        assert tokens(ask(client, "sent")) == expected(lora)
    quiet = upload(house, "3", "sent", promote="false").json()
    assert (quiet["live"], quiet["current"]) == (False, versions[1])
    with house.server.http() as http:
        assert http.post("/v1/adapters/sent/rollback").json()["version"] == versions[0]
        assert tokens(ask(client, "sent")) == expected("1")
        promoted = http.post("/v1/adapters/sent/promote", json={"version": quiet["version"][:6]})
        assert promoted.json()["current"] == quiet["version"]
        assert tokens(ask(client, "sent")) == expected("3")


def test_removed_over_http_it_is_gone_once_its_readers_are(client, house, expected):
    old, new = (upload(house, lora, "sent-off").json()["reference"] for lora in ("1", "2"))
    chunks = ask(client, old, stream=True, max_tokens=700)
    start = next(iter(chunks))
    with house.server.http() as http:
        current = http.delete(f"/v1/adapters/{new}")
        assert (current.status_code, current.json()["error"]["param"]) == (409, "name")
        assert http.delete("/v1/adapters/sent-off").status_code == 409, "which of the two?"
        forged = http.delete(f"/v1/adapters/{old}", headers={"Origin": "http://evil.example"})
        assert (forged.status_code, forged.json()["error"]["param"]) == (403, "Origin")
        removed = http.delete(f"/v1/adapters/{old}")
        assert (removed.status_code, removed.json()["reference"]) == (200, old)
        named, ids = streamed(chunks)
        assert named == {start.model} == {old}
        assert [*(start.choices[0].model_extra.get("token_ids") or []), *ids][:TOKENS] == expected("1")
        with pytest.raises(openai.NotFoundError):
            ask(client, old)
        assert tokens(ask(client, "sent-off")) == expected("2")
        assert http.delete(f"/v1/adapters/{old}").status_code == 404
        assert http.delete("/v1/adapters/sent-off").json()["reference"] == new
    assert "sent-off" not in house.store.names()
    wait_for(lambda: "sent-off" not in {name["name"] for name in house.get("/v1/adapters")["data"]})


def test_an_upload_is_held_to_the_base_that_it_names(house):
    known = fingerprint(house.base)
    assert upload(house, "1", "held", base=known.model_dump_json()).status_code == 201
    other = known.model_copy(update={"name": "elsewhere", "weights": "0" * 64})
    refused = upload(house, "1", "held-not", base=other.model_dump_json())
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "base")
    assert "trained on elsewhere; the weights of" in refused.json()["error"]["message"]
    broken = upload(house, "1", "held-not", base="{}")
    assert (broken.status_code, broken.json()["error"]["param"]) == (400, "base.name")
    assert "held-not" not in house.store.names()
    house.store.remove("held")


@pytest.mark.parametrize(
    ("lora", "fields", "status", "param", "says"),
    [
        ("1", {"name": "../outside"}, 400, "name", "can't name an adapter"),
        ("1", {"name": "toy"}, 400, "name", "model of this server"),
        ("1", {"name": "x", "kind": "magic"}, 400, "kind", "sft, dpo, ppo, reward"),
        ("1", {"name": "x", "rank": "8"}, 400, "rank", "unknown field"),
        ("wide", {"name": "x"}, 413, "body", "--max-adapter-bytes"),
        ("foreign", {"name": "x"}, 400, "adapter", "32"),
    ],
)
def test_an_upload_that_cannot_be_served_is_refused(house, lora, fields, status, param, says):
    answer = upload(house, lora, **fields)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["param"] == param
    assert says in answer.json()["error"]["message"]
    assert "x" not in house.store.names()


def test_a_page_of_another_site_changes_nothing(house):
    answer = upload(house, "1", "forged", headers={"Origin": "http://evil.example"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (403, "Origin")
    with house.server.http() as http:
        rollback = http.post("/v1/adapters/first/rollback", headers={"Origin": "http://evil.example"})
    assert rollback.status_code == 403
    assert "forged" not in house.store.names()


def test_vllms_routes_are_confined_to_the_store(client, house, tmp_path, expected):
    one, two = house.live(house.publish("1", "classic")), house.publish("2", "classic", promote=False)
    wait_for(lambda: len(house.shown("classic")["versions"]) == 2)
    link = tmp_path / "link"
    link.symlink_to(two.path)
    with house.server.http() as http:

        def load(**body: Any) -> httpx.Response:
            return http.post("/v1/load_lora_adapter", json={"lora_name": "classic", **body})

        outside = (house.loras["3"], two.path / ".." / one.version, link, Path("/etc"), two.path / "x")
        for path in outside:
            refused = load(lora_path=str(path))
            assert (refused.status_code, refused.json()["error"]["param"]) == (400, "lora_path"), path
        assert load(lora_path=two.reference, lora_name="other").json()["error"]["param"] == "lora_name"
        in_place = load(lora_path=two.reference, load_inplace=True).json()["error"]
        assert (in_place["param"], "cached" in in_place["message"]) == ("load_inplace", True)
        assert load(lora_path=two.reference, lora_rank=1).json()["error"]["param"] == "lora_rank"
        assert tokens(ask(client, "classic")) == expected("1")
        assert load(lora_path=str(two.path)).text == "Success: LoRA adapter 'classic' added successfully."
        assert tokens(ask(client, "classic")) == expected("2")
        wait_for(lambda: house.gone(one))
        removed = http.post("/v1/unload_lora_adapter", json={"lora_name": "classic"})
        assert removed.text.startswith("Success: LoRA adapter 'classic' removed successfully.")
        assert house.gone(two)
        assert http.post("/v1/unload_lora_adapter", json={"lora_name": "classic"}).status_code == 404
        pinned = http.post("/v1/unload_lora_adapter", json={"lora_name": "judge"}).json()["error"]
        assert "--pin" in pinned["message"]


# Rewards


def reward(house: House, **body: Any) -> httpx.Response:
    with house.server.http() as http:
        return http.post("/v1/rewards", json={"model": "judge", **body})


def test_rewards_are_those_of_transformers_and_peft_also_beside_other_rows(client, house, models):
    import torch
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification

    base = AutoModelForSequenceClassification.from_pretrained(
        models.expert, num_labels=1, dtype=torch.float32
    )
    judge = PeftModel.from_pretrained(base, house.loras["reward"]).eval()
    tokenizer = byte_tokenizer()
    prompts = [tokenizer.apply_chat_template(each, return_dict=True)["input_ids"] for each in CONVERSATIONS]
    with torch.no_grad():
        scores = [judge(input_ids=torch.tensor([prompt])).logits[0, 0].item() for prompt in prompts]
    done = threading.Event()

    def talk() -> None:
        while not done.is_set():
            ask(client, "first")
            ask(client, "toy", contrast=True)

    with ThreadPoolExecutor(2) as pool:
        talking = [pool.submit(talk) for _ in range(2)]
        answer = reward(house, conversations=CONVERSATIONS)
        done.set()
        for each in talking:
            each.result()
    content = answer.json()
    reference = house.store.get("judge").reference
    assert [datum["reward"] for datum in content["data"]] == pytest.approx(scores, abs=1e-4)
    assert [datum["tokens"] for datum in content["data"]] == [len(prompt) for prompt in prompts]
    assert (content["model"], content["motet"]) == (reference, {"adapter": reference})
    assert answer.headers["x-motet-adapter"] == reference
    single = reward(house, messages=CONVERSATIONS[1]).json()
    assert single["data"][0]["reward"] == pytest.approx(scores[1], abs=1e-4)


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({}, 400, "conversations"),
        ({"conversations": []}, 400, "conversations"),
        ({"conversations": [CONVERSATIONS[0], []]}, 400, "conversations.1"),
        ({"conversations": [CONVERSATIONS[0], [{"content": "?"}]]}, 400, "conversations.1"),
        ({"conversations": [CONVERSATIONS[0]] * 1025}, 400, "conversations"),
        ({"conversations": [[{"role": "user", "content": "a" * 17_000}]]}, 400, "conversations.0"),
        ({"conversations": "all"}, 400, "conversations"),
        ({"messages": CONVERSATIONS[0], "conversations": CONVERSATIONS}, 400, "conversations"),
        ({"messages": CONVERSATIONS[0], "normalise": True}, 400, "normalise"),
        ({"messages": CONVERSATIONS[0], "model": "first"}, 400, "model"),
        ({"messages": CONVERSATIONS[0], "model": "toy"}, 400, "model"),
        ({"messages": CONVERSATIONS[0], "model": "nobody"}, 404, "model"),
    ],
)
def test_what_cannot_be_scored_is_said_by_its_index(house, body, status, param):
    answer = reward(house, **body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param), answer.text


def test_a_reward_adapter_swaps_like_any_other(house):
    old = house.store.get("judge")
    make_lora(house.loras["reward"].with_name("reward-2"), house.base, seed=10, reward=True)
    house.loras["reward-2"] = house.loras["reward"].with_name("reward-2")
    before = reward(house, messages=CONVERSATIONS[0]).json()["data"][0]["reward"]
    new = house.live(house.publish("reward-2", "judge", kind="reward"))
    after = reward(house, messages=CONVERSATIONS[0]).json()
    assert (after["model"], after["data"][0]["reward"] == before) == (new.reference, False)
    wait_for(lambda: house.gone(old))


# At the end


def test_the_figures_count_what_has_happened(house):
    metric = house.server.metric
    assert metric("motet_adapter_swaps_total") >= 5
    assert metric("motet_adapter_load_seconds_count") >= 10
    assert metric("motet_rewards_total") >= 5
    assert 1 <= metric("motet_adapters_loaded") <= 5


def test_copies_of_what_is_gone_are_gone(house):
    (folder,) = (house.store.root / ".serving").iterdir()

    def settled() -> bool:
        listing = house.get("/v1/adapters")["data"]
        loaded = {v["reference"] for name in listing for v in name["versions"] if v["state"] == "loaded"}
        return {path.name for path in folder.iterdir() if "@" in path.name and path.is_dir()} == loaded

    wait_for(settled, seconds=60)
    assert json.loads(json.dumps(house.get("/v1/adapters")["engine"]))
