"""Two other families as a pair, their vocabularies padded differently, in a cache so small that it preempts."""

from __future__ import annotations

import pytest
import torch

from motet_decoding.reference import greedy_tokens
from motet_decoding.testing import write_model

from .conftest import mixed_requests, start_pair

pytestmark = pytest.mark.engine

SMALL_CACHE = {"block_size": 32, "num_gpu_blocks_override": 9}
# One slot more than is used: on a CPU, vLLM gives rows without an adapter the one in the last slot.
ADAPTERS = {"enable_lora": True, "max_loras": 2, "max_lora_rank": 8}


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    from transformers import GPT2Config, Qwen3Config

    qwen = Qwen3Config(
        vocab_size=320,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=512,
        initializer_range=0.2,
        tie_word_embeddings=True,
        eos_token_id=258,
    )
    gpt2 = GPT2Config(
        vocab_size=300,
        n_embd=64,
        n_layer=2,
        n_head=2,
        n_positions=256,
        initializer_range=0.2,
        eos_token_id=258,
    )
    expert = write_model(tmp_path_factory.mktemp("qwen3"), qwen, seed=0)
    amateur = write_model(tmp_path_factory.mktemp("gpt2"), gpt2, seed=1)
    with start_pair(expert, amateur, **SMALL_CACHE, **ADAPTERS, disable_log_stats=False) as pair:
        yield pair


def test_a_qwen3_expert_against_a_gpt2_amateur(pair, contrasts):
    requests, expected = mixed_requests(pair, contrasts, count=24, max_tokens=48)
    assert pair.tokens(requests) == expected
    preemptions = next(metric for metric in pair.llm.get_metrics() if metric.name == "vllm:num_preemptions")
    assert preemptions.value > 0


def test_an_adapter_changes_the_expert_alone(pair, contrasts, tmp_path):
    import copy

    from peft import LoraConfig, get_peft_model
    from vllm.lora.request import LoRARequest

    torch.manual_seed(5)
    config = LoraConfig(
        r=8, lora_alpha=32, target_modules=["q_proj", "v_proj", "down_proj"], init_lora_weights=False
    )
    adapted = get_peft_model(copy.deepcopy(pair.expert), config)
    adapted.save_pretrained(tmp_path)
    requests, expected, adapters = [], [], []
    for index in range(16):
        prompt, contrast = [index, 7, 99, 3 * index], contrasts[0] if index % 4 < 2 else None
        adapters.append(LoRARequest("one", 1, str(tmp_path)) if index % 2 else None)
        requests.append(pair.request(prompt, contrast))
        expert = adapted if index % 2 else pair.expert
        expected.append(greedy_tokens(expert, pair.amateur, prompt, contrast, 24))
    prompts, params = zip(*requests, strict=True)
    outputs = pair.llm.generate(list(prompts), list(params), lora_request=adapters, use_tqdm=False)
    assert [list(output.outputs[0].token_ids) for output in outputs] == expected
