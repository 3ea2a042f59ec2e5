"""Every bundled adapter over HTTP against transformers and PEFT: alone, beside the expert, with contrast, at once."""

from __future__ import annotations

import asyncio

import httpx
import openai
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from motet_alignment.data import Message
from motet_alignment.errors import TrainError
from motet_alignment.store import AdapterStore
from motet_benchmarks.gym import instances
from motet_decoding.contrast import Contrast
from motet_decoding.reference import greedy_tokens
from motet_models import ADAPTERS, AMATEUR, EXPERT

pytestmark = pytest.mark.engine

STORE = AdapterStore(ADAPTERS)
VOICES = ("motet-toy", "motet-sft", "motet-dpo", "motet-ppo")
SETTINGS = (None, Contrast(strength=0.5, plausibility=0.05))
MAX_TOKENS = 24


@pytest.fixture(scope="module")
def problems():
    """An unseen problem of every other family."""
    return instances("test", count=1, seed=5)[::2]


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(EXPERT)


@pytest.fixture(scope="module")
def reference(problems, tokenizer):
    """What the plain loop answers, by problem, voice and contrast."""
    amateur = AutoModelForCausalLM.from_pretrained(AMATEUR, dtype=torch.float32).eval()
    found = {}
    for voice in VOICES:
        model = AutoModelForCausalLM.from_pretrained(EXPERT, dtype=torch.float32)
        end = model.generation_config.eos_token_id
        if voice != VOICES[0]:
            model = PeftModel.from_pretrained(model, STORE.get(voice).path)
        model.eval()
        for index, problem in enumerate(problems):
            prompt = tokenizer.apply_chat_template(problem.messages(), add_generation_prompt=True)[
                "input_ids"
            ]
            for contrast in SETTINGS:
                tokens = greedy_tokens(
                    model, amateur, prompt, contrast, MAX_TOKENS, stop=lambda token, end=end: token == end
                )
                found[index, voice, contrast] = tokenizer.decode(tokens, skip_special_tokens=True)
    return found


def test_served_answers_are_those_of_transformers_and_peft(bundled, problems, reference):
    async def run():
        async with openai.AsyncOpenAI(base_url=f"{bundled.url}/v1", api_key="none", max_retries=0) as client:

            async def ask(index, voice, contrast):
                answer = await client.chat.completions.create(
                    model=voice,
                    messages=problems[index].messages(),
                    temperature=0,
                    max_tokens=MAX_TOKENS,
                    extra_body={"contrast": None if contrast is None else contrast.model_dump()},
                )
                return answer.choices[0].message.content, answer.model

            return await asyncio.gather(*(ask(*asked) for asked in reference))

    answers = asyncio.run(run())
    assert [text for text, _ in answers] == list(reference.values())
    current = {voice: STORE.get(voice).reference if voice != VOICES[0] else voice for voice in VOICES}
    assert [model for _, model in answers] == [current[voice] for _, voice, _ in reference]


def test_the_voices_differ_or_the_comparison_would_prove_nothing(problems, reference):
    answers = [tuple(reference[index, voice, None] for index in range(len(problems))) for voice in VOICES]
    assert len(set(answers)) == len(VOICES)


def test_rewards_are_those_of_transformers_and_peft(bundled, problems, tokenizer):
    conversations = [
        [*problem.messages(), {"role": "assistant", "content": text}]
        for problem in problems
        for text in (problem.answer, "no idea")
    ]
    answer = httpx.post(
        f"{bundled.url}/v1/rewards",
        json={"model": "motet-reward", "conversations": conversations},
        timeout=120,
    ).raise_for_status()
    base = AutoModelForSequenceClassification.from_pretrained(EXPERT, num_labels=1, dtype=torch.float32)
    model = PeftModel.from_pretrained(base, STORE.get("motet-reward").path).eval()
    with torch.no_grad():
        expected = [
            float(model(torch.tensor([tokenizer.apply_chat_template(chat)["input_ids"]])).logits[0, 0])
            for chat in conversations
        ]
    rewards = [entry["reward"] for entry in answer.json()["data"]]
    assert rewards == pytest.approx(expected, rel=1e-4, abs=1e-4)
    assert answer.headers["X-Motet-Adapter"] == STORE.get("motet-reward").reference


def test_training_takes_the_same_rewards_from_the_server_as_from_the_adapter(bundled, problems):
    from motet_alignment.train.devices import Place
    from motet_alignment.train.models import open_base
    from motet_alignment.train.ppo.actor_critic import ActorCritic
    from motet_alignment.train.ppo.rewards import make_rewards
    from motet_alignment.train.ppo.rollout import Prompt, Rollout
    from motet_alignment.train.ppo.settings import PpoSettings

    specs = ("adapter:motet-reward", "server:motet-reward")
    settings = PpoSettings(data=["p.jsonl"], reward=specs, url=bundled.url, precision="fp32", device="cpu")
    base = open_base(settings)
    actor = ActorCritic(settings, base, Place("cpu", "fp32"), reference=None)
    rewards = make_rewards(specs, settings.weights, settings, base, actor)
    prompts = [
        Prompt(tuple(map(Message.model_validate, problem.messages())), (1,), {}, f"p.jsonl:{place}")
        for place, problem in enumerate(problems)
    ]
    # Nothing at all, and an answer that the context has cut off, are answers too.
    texts = ["", "1" * base.context, *(problem.answer for problem in problems[2:])]
    judged = rewards([Rollout(one, (2,), text, True, None) for one, text in zip(prompts, texts, strict=True)])
    rewards.check(prompts)
    rewards.close()
    here, there = ([one.parts[spec] for one in judged] for spec in specs)
    del here[1], there[1]  # cut off at the context, and before it
    assert there == pytest.approx(here, rel=1e-4, abs=1e-4)
    with pytest.raises(TrainError, match=r"server:motet-sft: .*answers 400: .*gives no rewards"):
        make_rewards(["server:motet-sft"], (1.0,), settings, base, actor).check(prompts)


def test_all_of_them_are_listed(bundled):
    listed = [model.id for model in bundled.client().models.list().data]
    assert {*VOICES, "motet-reward"} <= set(listed)
