"""Adapters in a real engine: every row its own, none a neighbour's, and rewards read off the same forward pass."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from motet_decoding.contrast import Contrast
from motet_decoding.engine.adapters import adapter_options
from motet_decoding.engine.launch import CPU_WORKER, pair_options
from motet_decoding.engine.rewards import read_reward, reward_sampling
from motet_decoding.errors import LaunchError
from motet_decoding.reference import greedy_tokens
from motet_decoding.testing import llama_config, write_model

from .conftest import write_adapter

SLOTS, NEW_TOKENS = 2, 16


def write_reward(folder: Path, model: Path, *, seed: int) -> tuple[Path, Path, Path]:
    """A reward adapter: as PEFT writes it, its LoRA for the engine, and the file of its head."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForSequenceClassification

    torch.manual_seed(seed)
    peft = get_peft_model(
        AutoModelForSequenceClassification.from_pretrained(model, num_labels=1, dtype=torch.float32),
        LoraConfig(task_type="SEQ_CLS", r=4, target_modules="all-linear", modules_to_save=["score"]),
    )
    for name, parameter in peft.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    peft.save_pretrained(folder)
    tensors = load_file(folder / "adapter_model.safetensors")
    head = tensors.pop("base_model.model.score.weight")
    engine = folder / "engine"
    engine.mkdir()
    save_file(tensors, engine / "adapter_model.safetensors")
    save_file({"score.weight": head}, engine / "score.safetensors")
    config = json.loads((folder / "adapter_config.json").read_text())
    config |= {"task_type": "CAUSAL_LM", "modules_to_save": None}
    (engine / "adapter_config.json").write_text(json.dumps(config))
    return folder, engine, engine / "score.safetensors"


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    root = tmp_path_factory.mktemp("adapters")
    expert = write_model(root / "expert", llama_config(128, 3), seed=1)
    amateur = write_model(root / "amateur", llama_config(64, 2), seed=2)
    adapters = [write_adapter(root / f"adapter-{seed}", expert, seed=seed) for seed in range(3)]
    rewards = [write_reward(root / f"reward-{seed}", expert, seed=seed) for seed in range(2)]
    return expert, amateur, adapters, rewards


@pytest.fixture(scope="module", params=[True, False], ids=["pair", "one model"])
def llm(request, places):
    from vllm import LLM

    expert, amateur, _, _ = places
    options = {"max_num_batched_tokens": 64, "max_num_seqs": 32, "dtype": "float32", "enforce_eager": True}
    if request.param:
        options |= pair_options(str(expert), str(amateur), options)
    options |= adapter_options(str(expert), options, slots=SLOTS, loaded=4, max_rank=8)
    llm = LLM(model=str(expert), worker_cls=CPU_WORKER, **options)
    llm.has_amateur = request.param
    yield llm
    llm.llm_engine.engine_core.shutdown()


def lora(index: int, folder: Path):
    from vllm.lora.request import LoRARequest

    return LoRARequest(f"adapter-{index}@{folder.name}", 1000 + index, str(folder))


def voices(places):
    """The base model and each adapter on it, in transformers and PEFT."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    expert, amateur, adapters, _ = places
    load = AutoModelForCausalLM.from_pretrained
    with_adapters = [PeftModel.from_pretrained(load(expert, dtype=torch.float32), path) for path in adapters]
    return [load(expert, dtype=torch.float32), *with_adapters], load(amateur, dtype=torch.float32)


def score(places, index: int, tokens: list[int]) -> float:
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification

    base = AutoModelForSequenceClassification.from_pretrained(places[0], num_labels=1, dtype=torch.float32)
    base.config.pad_token_id = 0
    model = PeftModel.from_pretrained(base, places[3][index][0]).eval()
    with torch.no_grad():
        return float(model(torch.tensor([tokens])).logits[0, 0])


def test_every_row_of_mixed_batches_has_its_own_adapter_or_none(llm, places):
    from vllm import SamplingParams

    from motet_decoding.engine.arguments import engine_arguments

    models, amateur = voices(places)
    _, _, adapters, rewards = places
    rng = random.Random(0)
    prompts, sampling, loras, expected = [], [], [], []
    for index in range(48):
        tokens = [rng.randrange(256) for _ in range(rng.choice([1, 5, 17, 40, 90]))]
        if index % 6 == 5:  # a conversation to score, of more tokens than one step takes
            reward = index % 2
            prompts.append({"prompt_token_ids": tokens})
            sampling.append(reward_sampling(rewards[reward][2]))
            loras.append(lora(10 + reward, rewards[reward][1]))
            expected.append(score(places, reward, tokens))
            continue
        voice = index % 4  # 0 is the base, which shares every batch with the adapters
        contrast = Contrast(strength=1.0) if llm.has_amateur and index % 3 == 0 else None
        params = SamplingParams(temperature=0.0, max_tokens=NEW_TOKENS, ignore_eos=True)
        prompt = {"prompt_token_ids": tokens}
        if contrast is not None:
            arguments = engine_arguments(contrast)
            params.extra_args, prompt["cache_salt"] = arguments.extra_args, arguments.cache_salt
        prompts.append(prompt)
        sampling.append(params)
        loras.append(lora(voice, adapters[voice - 1]) if voice else None)
        expected.append(greedy_tokens(models[voice], amateur, tokens, contrast, NEW_TOKENS))
    for _ in range(2):  # the second time the prompts come out of the prefix cache
        outputs = llm.generate(prompts, sampling, lora_request=loras, use_tqdm=False)
        for output, request, answer in zip(outputs, sampling, expected, strict=True):
            if isinstance(answer, float):
                assert read_reward(output) == pytest.approx(answer, rel=1e-4, abs=1e-4)
            else:
                assert list(output.outputs[0].token_ids) == answer, request


def test_an_adapters_answers_differ_from_the_bases_or_these_tests_would_prove_nothing(places):
    models, _ = voices(places)
    answers = [tuple(greedy_tokens(model, None, [7, 8, 9], None, NEW_TOKENS)) for model in models]
    assert len(set(answers)) == len(answers)


def test_a_removed_adapter_is_gone_from_the_engine(llm, places):
    engine = llm.llm_engine
    adapter = lora(1, places[2][0])
    engine.add_lora(adapter)
    assert adapter.lora_int_id in engine.list_loras()
    assert engine.remove_lora(adapter.lora_int_id)
    assert adapter.lora_int_id not in engine.list_loras()


def test_a_head_that_cannot_be_read_costs_one_answer_and_not_the_engine(llm, places, tmp_path):
    from vllm import SamplingParams

    _, engine, _ = places[3][0]
    outputs = llm.generate(
        [{"prompt_token_ids": [1, 2, 3]}] * 2,
        [reward_sampling(tmp_path / "missing.safetensors"), SamplingParams(temperature=0.0, max_tokens=4)],
        lora_request=[lora(10, engine), None],
        use_tqdm=False,
    )
    with pytest.raises(ValueError, match="could not score"):
        read_reward(outputs[0])
    assert len(outputs[1].outputs[0].token_ids) > 0


def test_prompt_logprobs_beside_a_scored_request_are_the_models_own(llm, places):
    from vllm import SamplingParams

    _, engine, head = places[3][0]
    prompt = {"prompt_token_ids": [11, 12, 13, 14]}
    asked = SamplingParams(temperature=0.0, max_tokens=1, prompt_logprobs=0)
    alone = llm.generate([prompt], [asked], use_tqdm=False)[0].prompt_logprobs
    both = llm.generate(
        [{"prompt_token_ids": [5, 6]}, prompt],
        [reward_sampling(head), asked],
        lora_request=[lora(10, engine), None],
        use_tqdm=False,
    )[1].prompt_logprobs
    for token, here, there in zip(prompt["prompt_token_ids"][1:], alone[1:], both[1:], strict=True):
        assert here[token].logprob == pytest.approx(there[token].logprob, abs=1e-5)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"slots": 0}, "at least one slot"),
        ({"slots": 3, "loaded": 2}, "no more slots than loaded"),
        ({"max_rank": 1000}, "max_lora_rank: 1000"),
        ({"options": {"max_logprobs": 3}}, "max_logprobs: must be at least 4"),
        ({"options": {"enforce_eager": False}}, "enforce_eager: needed for adapters on a CPU"),
        ({"options": {"fully_sharded_loras": True}}, "fully_sharded_loras: can't be used on a CPU"),
        ({"options": {"hf_overrides": lambda config: config}}, "hf_overrides: must be a dictionary"),
        ({"options": {"headless": True}}, "MOTET_ENGINE_KEY: not set, and this engine has processes"),
    ],
)
def test_what_cannot_be_honoured_is_named(places, monkeypatch, changed, message):
    monkeypatch.delenv("MOTET_ENGINE_KEY", raising=False)
    asked = {"options": {}, "slots": 1, "loaded": 2, "max_rank": 8, **changed}
    with pytest.raises(LaunchError, match=message):
        adapter_options(str(places[0]), asked.pop("options"), **asked)


def test_the_largest_rank_is_the_least_of_vllms_that_holds_it(places):
    chosen = adapter_options(str(places[0]), {}, slots=1, loaded=1, max_rank=9)
    assert chosen["max_lora_rank"] == 16
    assert chosen["enforce_eager"] is True
    assert chosen["hf_overrides"]["architectures"] == ["ScoredLlamaForCausalLM"]


def test_a_mixture_of_experts_is_given_none_on_a_cpu_where_the_first_request_would_end_the_engine(tmp_path):
    from transformers import MixtralConfig

    mixtral = MixtralConfig(
        vocab_size=320,
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        num_local_experts=2,
    )
    model = write_model(tmp_path / "mixtral", mixtral, seed=0)
    with pytest.raises(LaunchError, match="mixture of experts by Triton"):
        adapter_options(str(model), {}, slots=1, loaded=1, max_rank=8)
