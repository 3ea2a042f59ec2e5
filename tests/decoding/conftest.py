"""Real engines over small random pairs; each takes tens of seconds to start, so a module shares one."""

from __future__ import annotations

import contextlib
import gc
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from motet_decoding.contrast import Contrast
from motet_decoding.engine.arguments import engine_arguments
from motet_decoding.reference import greedy_tokens

os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")


@dataclass
class Pair:
    """An engine with two models, and the same two models in transformers."""

    llm: Any
    expert: Any
    amateur: Any

    def request(self, prompt, contrast, **params):
        """One engine request's prompt and sampling parameters."""
        from vllm import SamplingParams

        sampling = SamplingParams(**{"temperature": 0.0, "max_tokens": 24, "ignore_eos": True, **params})
        engine_prompt = {"prompt_token_ids": list(prompt)}
        if contrast is not None:
            arguments = engine_arguments(contrast)
            sampling.extra_args = arguments.extra_args
            engine_prompt["cache_salt"] = arguments.cache_salt
        return engine_prompt, sampling

    def run(self, requests):
        """The outputs of the requests, all at once in one engine."""
        prompts, params = zip(*requests, strict=True)
        return self.llm.generate(list(prompts), list(params), use_tqdm=False)

    def tokens(self, requests):
        """The token ids of each request's first output."""
        return [list(output.outputs[0].token_ids) for output in self.run(requests)]

    def reference(self, prompt, contrast: Contrast | None, max_tokens=24):
        return greedy_tokens(self.expert, self.amateur, prompt, contrast, max_tokens)

    def steps(self):
        return self.llm.collective_rpc("motet_steps")[0]


@contextlib.contextmanager
def start_pair(expert: Path, amateur: Path, **options: Any):
    """Starts an engine on the pair with chunked prefill in small pieces, and stops it."""
    import torch
    from transformers import AutoModelForCausalLM
    from vllm import LLM

    from motet_decoding.engine.launch import CPU_WORKER, pair_options

    llm = LLM(
        model=str(expert),
        **{
            "dtype": "float32",
            "enforce_eager": True,
            "max_num_batched_tokens": 64,
            "max_num_seqs": 32,
            "worker_cls": CPU_WORKER,
            "worker_extension_cls": "motet_decoding.testing.StepCounter",
            **pair_options(str(expert), str(amateur), options),
            **options,
        },
    )
    models = [
        AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval() for path in (expert, amateur)
    ]
    try:
        yield Pair(llm, *models)
    finally:
        llm.llm_engine.engine_core.shutdown()
        del llm
        gc.collect()


@pytest.fixture(scope="session")
def contrasts():
    """Settings that cover both forms, the bounds and the usual middle."""
    return [
        Contrast(),
        Contrast(strength=1.0, plausibility=0.05, form="ratio"),
        Contrast(strength=2.0, plausibility=0.0),
        Contrast(strength=0.25, plausibility=0.3, amateur_temperature=0.5),
        Contrast(strength=0.0, plausibility=0.1),
        Contrast(strength=10.0, plausibility=0.1, form="ratio", amateur_temperature=2.0),
    ]


def write_adapter(folder: Path, model: Path, *, seed: int, rank: int = 4, head: bool = False) -> Path:
    """A LoRA on every linear layer whose two matrices are both random, so that it changes the answers.

    ``head``: the model's head as well.
    """
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    peft = get_peft_model(
        AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32),
        LoraConfig(
            task_type="CAUSAL_LM",
            r=rank,
            lora_alpha=2 * rank,
            target_modules=["q_proj", "v_proj", "up_proj", "lm_head"] if head else "all-linear",
        ),
    )
    for name, parameter in peft.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    peft.save_pretrained(folder)
    return folder


def mixed_requests(pair: Pair, contrasts, *, count=32, seed=0, max_tokens=24):
    """Plain and contrast requests of many lengths, and what a plain loop makes of each."""
    import random

    rng = random.Random(seed)
    requests, expected = [], []
    for index in range(count):
        prompt = [rng.randrange(256) for _ in range(rng.choice([1, 5, 17, 40, 90, 150]))]
        contrast = None if index % 4 == 0 else rng.choice(contrasts)
        tokens = rng.randrange(max_tokens // 2, max_tokens + 1)
        requests.append(pair.request(prompt, contrast, max_tokens=tokens))
        expected.append(pair.reference(prompt, contrast, tokens))
    return requests, expected
