"""Certainties and implicit rewards from one engine that preempts, held against plain transformers and PEFT."""

from __future__ import annotations

import asyncio
import gc
import math
import random
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from motet_decoding.best_of.candidate import Candidate, Question
from motet_decoding.contrast import Contrast
from motet_decoding.engine import SCORING_PROCESSOR
from motet_decoding.engine.arguments import engine_arguments
from motet_decoding.engine.certainty import measured, no_certainty, one_replica, read_certainty
from motet_decoding.engine.implicit import ImplicitScorer
from motet_decoding.testing import llama_config, write_model

from .conftest import write_adapter

CONTEXT, VOCAB = 384, 320


@dataclass
class Engine:
    """vLLM's client, the loop it lives in, and each voice of it in transformers."""

    client: Any
    runner: asyncio.Runner
    voices: list[Any]
    loras: list[Any]

    async def draw(self, prompt, voice, name, *, contrast=None, measure=None, **sampling):
        from vllm import SamplingParams
        from vllm.inputs import tokens_input

        params = SamplingParams(**{"temperature": 1.0, "max_tokens": 60, "ignore_eos": True, **sampling})
        arguments = None if contrast is None else engine_arguments(contrast)
        params.extra_args = None if arguments is None else arguments.extra_args
        if measure is not None:
            params.extra_args = measured(params.extra_args, measure)
        salt = None if arguments is None else arguments.cache_salt
        outputs = self.client.generate(
            tokens_input(prompt, cache_salt=salt), params, name, lora_request=self.loras[voice]
        )
        ids: list[int] = []
        async for output in outputs:
            ids = list(output.outputs[0].token_ids)
        return ids

    def logprobs(self, prompt, answer, voice):
        """Of the model's next token at each token of the answer: [answer, vocab], float64."""
        with torch.no_grad():
            logits = self.voices[voice](torch.tensor([[*prompt, *answer]])).logits[0].double()
        return logits[len(prompt) - 1 : -1].log_softmax(-1)

    def certainty(self, prompt, answer, voice):
        """The mean over the answer of sum over tokens of 1/V log((1/V) / p)."""
        return float((-math.log(VOCAB) - self.logprobs(prompt, answer, voice).mean(-1)).mean())

    def likelihood(self, prompt, answer, voice):
        every = self.logprobs(prompt, answer, voice)
        return float(every.gather(-1, torch.tensor(answer)[:, None]).sum())

    def preemptions(self):
        from prometheus_client import REGISTRY

        found = [metric for metric in REGISTRY.collect() if metric.name == "vllm:num_preemptions"]
        return sum(sample.value for metric in found for sample in metric.samples if "_total" in sample.name)


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.lora.request import LoRARequest
    from vllm.v1.engine.async_llm import AsyncLLM

    from motet_decoding.engine.adapters import adapter_options
    from motet_decoding.engine.launch import CPU_WORKER, pair_options

    root = tmp_path_factory.mktemp("certainty")
    expert = write_model(root / "expert", llama_config(128, 3), seed=1)
    amateur = write_model(root / "amateur", llama_config(64, 2), seed=2)
    adapters = [
        write_adapter(root / f"adapter-{seed}", expert, seed=seed, head=bool(seed)) for seed in range(2)
    ]
    options = {
        **{"max_num_batched_tokens": 64, "max_num_seqs": 16, "dtype": "float32", "enforce_eager": True},
        # So few blocks that no three answers fit beside each other.
        **{"max_model_len": CONTEXT, "block_size": 32, "num_gpu_blocks_override": 28},
    }
    options |= pair_options(str(expert), str(amateur), options)
    options |= adapter_options(str(expert), options, slots=2, loaded=2, max_rank=8)

    async def start():
        return AsyncLLM.from_engine_args(
            AsyncEngineArgs(model=str(expert), worker_cls=CPU_WORKER, disable_log_stats=False, **options)
        )

    def load():
        return AutoModelForCausalLM.from_pretrained(expert, dtype=torch.float32)

    with asyncio.Runner() as runner:
        client = runner.run(start())
        engine = Engine(
            client,
            runner,
            [load().eval(), *(PeftModel.from_pretrained(load(), path).eval() for path in adapters)],
            [None, *(LoRARequest(path.name, 10 + i, str(path)) for i, path in enumerate(adapters))],
        )
        yield engine
        client.shutdown()
        del engine.client, client
        gc.collect()


def asked(rng, index):
    """What one of many requests asks for: the first draws are plain, the others whatever changes a draw."""
    sampling: dict[str, Any] = {"seed": index, "max_tokens": rng.randrange(40, 100)}
    kind = index % 6
    if kind == 1:
        sampling |= {"contrast": Contrast(strength=1.0), "top_p": 0.9}
    elif kind == 2:
        sampling |= {"stop": list("abcdefghijklmnopqrst"), "ignore_eos": False}
    elif kind == 3:
        sampling |= {"logit_bias": {7: 3.0}, "presence_penalty": 1.0, "repetition_penalty": 1.2}
    elif kind == 4:
        sampling |= {"allowed_token_ids": list(range(40, 90)), "temperature": 0.3}
    return sampling


def test_certainty_is_the_models_own_whoever_shares_the_batch_and_however_often_a_request_is_preempted(
    engine,
):
    rng = random.Random(0)
    prompts = [[rng.randrange(256) for _ in range(rng.choice([1, 30, 90, 150]))] for _ in range(30)]
    before = engine.preemptions()

    async def one(index):
        voice, measure = index % 3, f"measure-{index}" if index % 4 else None
        answer = await engine.draw(
            prompts[index], voice, f"draw-{index}", measure=measure, **asked(rng, index)
        )
        if measure is None:
            return None
        told = await read_certainty(engine.client, measure, len(answer), f"read-{index}")
        part = max(1, len(answer) // 2)
        told_part = await read_certainty(engine.client, measure, part, f"part-{index}")
        return voice, answer, told, (part, told_part)

    async def everything():
        return await asyncio.gather(*(one(index) for index in range(30)))

    found = engine.runner.run(everything())
    assert engine.preemptions() > before + 5
    assert sum(each is not None and len(each[1]) < 40 for each in found) >= 2  # stop strings
    values = []
    for prompt, each in zip(prompts, found, strict=True):
        if each is not None:
            voice, answer, told, (part, told_part) = each
            assert told == pytest.approx(engine.certainty(prompt, answer, voice), abs=1e-4)
            assert told_part == pytest.approx(engine.certainty(prompt, answer[:part], voice), abs=1e-4)
            values.append(told)
    assert max(values) - min(values) > 0.1  # or anything would be near enough


def test_a_measured_request_draws_what_it_draws_unmeasured(engine):
    async def both():
        return [
            await engine.draw([1, 2, 3], 1, f"same-{measure}", measure=measure, seed=5)
            for measure in (None, "same")
        ]

    plain, watched = engine.runner.run(both())
    assert plain == watched


@pytest.mark.parametrize(("measure", "tokens"), [("nobody's", 1), ("short", 5)])
def test_what_was_not_measured_is_an_error_and_never_a_number(engine, measure, tokens):
    async def read():
        await engine.draw([4, 5], 0, f"draw-{measure}", measure="short", max_tokens=3)
        await read_certainty(engine.client, measure, tokens, f"read-{measure}")

    with pytest.raises(ValueError, match="no measurement of this answer"):
        engine.runner.run(read())


def test_several_answers_of_one_request_cannot_be_measured_as_one(engine):
    from vllm.exceptions import VLLMValidationError

    with pytest.raises(VLLMValidationError, match="n: a measured engine request has one answer"):
        engine.runner.run(engine.draw([4, 5], 0, "several", measure="several", n=2))


@pytest.mark.parametrize(("voice", "reference"), [(1, 0), (1, 2)])
def test_implicit_rewards_are_those_of_peft(engine, voice, reference):
    rng = random.Random(voice + 10 * reference)
    prompt = [rng.randrange(256) for _ in range(90)]

    async def score():
        answers = await asyncio.gather(
            *(engine.draw(prompt, 0, f"c-{reference}-{i}", seed=i, max_tokens=30) for i in range(6))
        )
        answers.append([9] * CONTEXT)  # doesn't fit
        candidates = [Candidate(index, "", tuple(answer)) for index, answer in enumerate(answers)]
        scorer = ImplicitScorer(
            engine.client,
            name="implicit:a",
            adapter=engine.loras[voice],
            reference=engine.loras[reference],
            beta=0.2,
            context=CONTEXT,
        )
        # The second time everything could come out of a prefix cache, the other voice's too.
        return answers, [await scorer.score(Question(tuple(prompt)), candidates) for _ in range(2)]

    answers, told = engine.runner.run(score())
    for index, answer in enumerate(answers):
        fits = answer[: CONTEXT - 1 - len(prompt)]
        gain = engine.likelihood(prompt, fits, voice) - engine.likelihood(prompt, fits, reference)
        for scores in told:
            assert scores[index] == pytest.approx(0.2 * gain, abs=1e-4, rel=1e-4)
    assert len(set(told[0])) == len(answers)


def test_prompts_are_scored_beside_rows_of_every_adapter(engine):
    """Their rows aren't the step's sampled ones, which the heads of adapters are told apart by."""
    rng = random.Random(3)
    prompts = [[rng.randrange(256) for _ in range(rng.choice([2, 5, 70]))] for _ in range(9)]

    async def score(index, prompt):
        voice = index % 3
        scorer = ImplicitScorer(
            engine.client,
            name="implicit",
            adapter=engine.loras[voice],
            reference=engine.loras[(voice + 1) % 3],
            beta=1.0,
            context=CONTEXT,
        )
        (told,) = await scorer.score(Question(tuple(prompt)), [Candidate(0, "", (1, 2, 3))])
        return told

    async def everything():
        draws = [engine.draw([7, index], index % 3, f"beside-{index}", max_tokens=40) for index in range(9)]
        scores = [score(index, prompt) for index, prompt in enumerate(prompts)]
        found = await asyncio.gather(*draws, *scores)
        return found[len(draws) :]

    for index, (prompt, told) in enumerate(zip(prompts, engine.runner.run(everything()), strict=True)):
        voice, reference = index % 3, (index + 1) % 3
        gain = engine.likelihood(prompt, [1, 2, 3], voice) - engine.likelihood(prompt, [1, 2, 3], reference)
        assert told == pytest.approx(gain, abs=2e-4, rel=1e-4)


def config(**changed: Any) -> Any:
    model = {"logits_processors": [SCORING_PROCESSOR], "max_logprobs": 20}
    parallel = {
        **{"prefill_context_parallel_size": 1, "data_parallel_size": 1, "data_parallel_size_local": 1},
        "local_engines_only": False,
    }
    return SimpleNamespace(
        speculative_config=changed.get("speculative_config"),
        model_config=SimpleNamespace(**{name: changed.get(name, model[name]) for name in model}),
        parallel_config=SimpleNamespace(**{name: changed.get(name, parallel[name]) for name in parallel}),
    )


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"speculative_config": object()}, "speculative decoding"),
        ({"logits_processors": None}, "started with an amateur, or with adapters"),
        ({"prefill_context_parallel_size": 2}, "prefill context parallelism"),
        ({"max_logprobs": 3}, "max_logprobs is 3"),
    ],
)
def test_an_engine_that_cannot_measure_says_why(changed, reason):
    assert reason in no_certainty(config(**changed))


def test_other_engines_can():
    assert no_certainty(config()) is None
    assert no_certainty(config(max_logprobs=-1)) is None


def test_an_answer_and_its_reading_meet_on_one_replica():
    assert one_replica(config()) == {}
    chosen = {one_replica(config(data_parallel_size=4))["data_parallel_rank"] for _ in range(200)}
    assert chosen == {0, 1, 2, 3}
    assert one_replica(config(data_parallel_size=4, local_engines_only=True)) == {}


def test_the_configuration_of_a_real_engine_says_that_it_can(engine):
    assert no_certainty(engine.client.vllm_config) is None
    assert one_replica(engine.client.vllm_config) == {}
