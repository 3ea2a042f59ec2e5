"""The bundled models over HTTP against the same models in a plain transformers loop."""

from __future__ import annotations

import asyncio

import openai
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from motet_benchmarks.gym import instances
from motet_decoding.contrast import Contrast
from motet_decoding.reference import greedy_tokens
from motet_models import AMATEUR, EXPERT

pytestmark = pytest.mark.engine

SETTINGS = [
    None,
    Contrast(),
    Contrast(strength=1.0, plausibility=0.05, form="ratio"),
    Contrast(strength=1.5, plausibility=0.3, amateur_temperature=0.5),
]
MAX_TOKENS = 32


@pytest.fixture(scope="module")
def problems():
    """One unseen problem of every family."""
    return instances("test", count=1, seed=3)


@pytest.fixture(scope="module")
def reference(problems):
    """Problem index to the answers of transformers, one for each of SETTINGS."""
    tokenizer = AutoTokenizer.from_pretrained(EXPERT)
    expert, amateur = (
        AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval() for path in (EXPERT, AMATEUR)
    )
    end = expert.generation_config.eos_token_id

    def answer(problem, contrast):
        prompt = tokenizer.apply_chat_template(problem.messages(), add_generation_prompt=True)["input_ids"]
        tokens = greedy_tokens(expert, amateur, prompt, contrast, MAX_TOKENS, stop=lambda token: token == end)
        return tokenizer.decode(tokens, skip_special_tokens=True)

    return [[answer(problem, contrast) for contrast in SETTINGS] for problem in problems]


def ask_all(url, problems, *, stream):
    """Every problem with every setting, all at once: the answers as `reference` has them."""

    async def run():
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:

            async def ask(problem, contrast):
                answer = await client.chat.completions.create(
                    model="motet-toy",
                    messages=problem.messages(),
                    temperature=0,
                    max_tokens=MAX_TOKENS,
                    stream=stream,
                    extra_body={"contrast": None if contrast is None else contrast.model_dump()},
                )
                if not stream:
                    return answer.choices[0].message.content
                return "".join([chunk.choices[0].delta.content or "" async for chunk in answer])

            asked = [
                asyncio.gather(*(ask(problem, contrast) for contrast in SETTINGS)) for problem in problems
            ]
            return [list(answers) for answers in await asyncio.gather(*asked)]

    return asyncio.run(run())


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_answers_are_those_of_the_plain_loop(bundled, problems, reference, stream):
    assert ask_all(bundled.url, problems, stream=stream) == reference


def test_the_amateur_changes_some_answers(reference):
    assert sum(plain != contrasted for plain, contrasted, *_ in reference) >= 2
