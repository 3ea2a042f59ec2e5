"""`motet serve`, nothing else said: what is published into $MOTET_HOME answers a moment later."""

from __future__ import annotations

import httpx
import pytest
from tests.server.making import make_lora, publish
from tests.servers import wait_for

from motet_alignment.store import AdapterStore, default_store
from motet_models import AMATEUR, EXPERT

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

QUESTION = [{"role": "user", "content": "What is 17 + 25?"}]
TOKENS = 24


def current(server) -> str | None:
    return httpx.get(f"{server.url}/v1/adapters/newest").json().get("current")


def test_an_adapter_published_while_serving_answers_like_transformers_and_peft(bundled, tmp_path):
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from motet_decoding.contrast import Contrast
    from motet_decoding.reference import greedy_tokens

    client = bundled.client()
    load = AutoModelForCausalLM.from_pretrained
    amateur, tokenizer = load(AMATEUR, dtype=torch.float32).eval(), AutoTokenizer.from_pretrained(EXPERT)
    prompt = tokenizer.apply_chat_template(QUESTION, add_generation_prompt=True, return_dict=True)[
        "input_ids"
    ]
    for seed in (1, 2):
        folder = make_lora(tmp_path / str(seed), EXPERT, seed=seed, scale=1.0)
        adapter = publish(AdapterStore(default_store()), folder, EXPERT, "newest")

        def ask(model: str = "newest"):
            return client.chat.completions.create(
                model=model,
                messages=QUESTION,
                temperature=0,
                max_tokens=TOKENS,
                extra_body={"ignore_eos": True, "return_token_ids": True},
            )

        wait_for(lambda version=adapter.version: current(bundled) == version)
        tuned = PeftModel.from_pretrained(load(EXPERT, dtype=torch.float32), folder).eval()
        for model, contrast in (("newest", None), ("newest:contrast", Contrast())):
            answer = ask(model)
            assert answer.model == model.replace("newest", adapter.reference)
            expected = list(greedy_tokens(tuned, amateur, prompt, contrast, TOKENS))
            assert answer.choices[0].model_extra["token_ids"] == expected
    plain = list(greedy_tokens(load(EXPERT, dtype=torch.float32).eval(), amateur, prompt, None, TOKENS))
    assert ask("motet-toy").choices[0].model_extra["token_ids"] == plain
    AdapterStore(default_store()).remove_all("newest")
    wait_for(lambda: httpx.get(f"{bundled.url}/v1/adapters/newest").status_code == 404)
