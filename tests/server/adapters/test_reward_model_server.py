"""Two processes that answer HTTP, one engine, one store, and a reward model beside them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.server.conftest import Models
from tests.server.making import make_lora, publish
from tests.servers import Server, running_server, wait_for

from motet_alignment.store import AdapterStore
from motet_decoding.testing import byte_tokenizer, llama_config

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

CONVERSATIONS = [
    [{"role": "user", "content": "What is 1 + 1?"}, {"role": "assistant", "content": answer}]
    for answer in ("2", "11, of course", "I would rather talk about the weather today.")
]
CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2, "temperature": 0}
CONTEXT = 256


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random LlamaForSequenceClassification with one label."""
    import torch
    from transformers import LlamaForSequenceClassification

    folder = tmp_path_factory.mktemp("reward-model")
    tokenizer = byte_tokenizer()
    config = llama_config(
        64, 2, vocab_size=len(tokenizer), num_labels=1, pad_token_id=256, max_position_embeddings=CONTEXT
    )
    with torch.random.fork_rng():
        torch.manual_seed(4)
        LlamaForSequenceClassification(config).float().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def store(models: Models, tmp_path_factory: pytest.TempPathFactory) -> AdapterStore:
    store = AdapterStore(tmp_path_factory.mktemp("two") / "store")
    for seed in (1, 2):
        folder = make_lora(store.root.parent / str(seed), models.untemplated, seed=seed)
        publish(store, folder, models.untemplated, "polite")
    store.rollback("polite")
    return store


@pytest.fixture(scope="module")
def server(models: Models, checkpoint: Path, store: AdapterStore) -> Iterator[Server]:
    arguments = [str(models.untemplated), "--served-model-name", "toy", "--dtype", "float32"]
    arguments += [
        "--adapters",
        str(store.root),
        "--api-server-count",
        "2",
        "--reward",
        f"helpful={checkpoint}",
    ]
    arguments += ["--default-chat-template", "chatml"]
    yield from running_server(arguments, store.root.parent / "serve.log")


def post(server: Server, path: str, body: Any) -> httpx.Response:
    """On a connection of its own, which may come to either process."""
    return httpx.post(f"{server.url}{path}", json=body, timeout=120)


def test_a_reward_models_scores_are_those_of_transformers(server, checkpoint):
    import torch
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(checkpoint, dtype=torch.float32).eval()
    tokenizer = byte_tokenizer()
    prompts = [tokenizer.apply_chat_template(each, return_dict=True)["input_ids"] for each in CONVERSATIONS]
    with torch.no_grad():
        scores = [model(input_ids=torch.tensor([prompt])).logits[0, 0].item() for prompt in prompts]
    answer = post(server, "/v1/rewards", {"model": "helpful", "conversations": CONVERSATIONS}).json()
    assert [datum["reward"] for datum in answer["data"]] == pytest.approx(scores, abs=1e-4)
    assert [datum["tokens"] for datum in answer["data"]] == [len(prompt) for prompt in prompts]
    assert (answer["model"], "motet" in answer) == ("helpful", False)
    assert {card["id"]: card["parent"] for card in httpx.get(f"{server.url}/v1/models").json()["data"]}[
        "helpful"
    ] == "toy"
    assert f"helpful  ({checkpoint})" in server.output


def test_a_conversation_longer_than_the_reward_model_reads_is_named(server):
    long = [{"role": "user", "content": "a" * CONTEXT}]
    answer = post(server, "/v1/rewards", {"model": "helpful", "conversations": [CONVERSATIONS[0], long]})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "conversations.1")


def test_a_reward_model_writes_no_text(server):
    assert post(server, "/v1/chat/completions", {**CHAT, "model": "helpful"}).status_code in (400, 404)


@pytest.mark.parametrize("route", ["chat", "completions"])
def test_the_best_of_several_is_who_the_reward_model_scores_best(server, checkpoint, route):
    import torch
    from transformers import AutoModelForSequenceClassification

    asked = {"messages": CHAT["messages"]} if route == "chat" else {"prompt": "What is 1 + 1?"}
    best_of = {"n": 5, "by": "reward:helpful", "candidates": True}
    body = {**asked, "model": "toy", "temperature": 1.0, "seed": 3, "max_tokens": 12, "best_of": best_of}
    path = "/v1/chat/completions" if route == "chat" else "/v1/completions"
    answer = post(server, path, body)
    assert answer.status_code == 200, answer.text
    told = answer.json()["motet"]["best_of"]
    assert told["by"] == "reward:helpful"
    model = AutoModelForSequenceClassification.from_pretrained(checkpoint, dtype=torch.float32).eval()
    tokenizer = byte_tokenizer()
    expected = []
    for candidate in told["texts"]:
        if route == "chat":
            chat = [*CHAT["messages"], {"role": "assistant", "content": candidate["text"]}]
            ids = tokenizer.apply_chat_template(chat, return_dict=True)["input_ids"]
        else:
            ids = tokenizer(asked["prompt"] + candidate["text"])["input_ids"]
        with torch.no_grad():
            expected.append(model(input_ids=torch.tensor([ids])).logits[0, 0].item())
    assert told["scores"] == pytest.approx(expected, abs=1e-4)
    assert told["choices"] == [told["scores"].index(max(told["scores"]))]
    # The one reward that there is needs no name, and makes the preset.
    assert post(server, path, {**body, "best_of": {"n": 2, "by": "reward"}}).status_code == 200
    assert "toy:best-of-8" in [card["id"] for card in httpx.get(f"{server.url}/v1/models").json()["data"]]


def test_both_processes_follow_the_store(server, store):
    for adapter in (store.get("polite"), *store.versions("polite")):
        store.promote(adapter.reference)

        def everywhere(reference: str = adapter.reference) -> bool:
            answers = [post(server, "/v1/chat/completions", {**CHAT, "model": "polite"}) for _ in range(12)]
            assert {answer.status_code for answer in answers} == {200}
            return {answer.json()["model"] for answer in answers} == {reference}

        wait_for(everywhere)


def test_a_version_is_not_taken_from_the_other_processs_readers(server, store):
    """Each drops the old version when its own readers have left; a reader of the other's goes on to its end."""
    body = {**CHAT, "model": "polite", "max_tokens": 600, "ignore_eos": True, "return_token_ids": True}

    def ids(_: int) -> tuple[str, list[int]]:
        answer = post(server, "/v1/chat/completions", body)
        assert answer.status_code == 200, answer.text
        return answer.json()["model"], answer.json()["choices"][0]["token_ids"]

    one, two = store.versions("polite")
    expected = {}
    for adapter in (one, two):
        store.promote(adapter.reference)
        wait_for(lambda reference=adapter.reference: ids(0)[0] == reference and ids(0)[0] == reference)
        expected[adapter.reference] = next(
            tokens for model, tokens in map(ids, range(9)) if model == adapter.reference
        )
    with ThreadPoolExecutor(8) as pool:
        running = [pool.submit(ids, index) for index in range(8)]
        for adapter in (one, two, one):
            store.promote(adapter.reference)
            running += [pool.submit(ids, index) for index in range(4)]
        for each in running:
            model, tokens = each.result()
            assert tokens == expected[model]


def test_a_reward_model_that_dies_is_a_503_and_the_rest_goes_on(server):
    # Every process of the reward model's server is in the session that it leads.
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    leaders = [int(child) for child in children if os.getsid(int(child)) == int(child)]
    assert len(leaders) == 1
    os.killpg(leaders[0], signal.SIGKILL)
    wait_for(
        lambda: (
            post(server, "/v1/rewards", {"model": "helpful", "conversations": CONVERSATIONS}).status_code
            == 503
        )
    )
    refused = post(server, "/v1/rewards", {"model": "helpful", "conversations": CONVERSATIONS}).json()[
        "error"
    ]
    assert (refused["param"], refused["code"]) == ("model", 503)
    assert post(server, "/v1/chat/completions", {**CHAT, "model": "polite"}).status_code == 200
