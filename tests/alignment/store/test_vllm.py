"""What the store lets through, vLLM's own loader takes; what vLLM refuses, the store refuses first."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file
from tests.alignment.store.folders import RANK, make_adapter, make_reward

from motet_alignment.errors import Refused

pytest.importorskip("vllm", reason="vLLM is not installed")
from vllm.config.lora import LoRAConfig
from vllm.lora.lora_model import LoRAModel
from vllm.lora.peft_helper import PEFTHelper

ODD = {
    "use_dora": True,
    "lora_bias": True,
    "bias": "all",
    "init_lora_weights": "pissa",
    "alora_invocation_tokens": [1],
    "layer_replication": [[0, 1]],
    "use_bdlora": {"nblocks": 2},
    "use_qalora": True,
    "modules_to_save": ["lm_head"],
    "rank_pattern": {"q_proj": 32},
    "r": 0,
}


def legal(folder) -> PEFTHelper:
    """As the engine reads the folder when it is started for a rank of 16."""
    helper = PEFTHelper.from_local_dir(str(folder), max_position_embeddings=64)
    helper.validate_legal(LoRAConfig(max_lora_rank=16))
    return helper


@pytest.mark.parametrize("kind", ["sft", "reward"])
def test_the_engines_folder_is_loaded_as_it_was_trained(publish, tmp_path, kind):
    options = {"use_rslora": True, "alpha_pattern": {"q_proj": 16}}
    made = make_reward if kind == "reward" else make_adapter
    folder = made(tmp_path / "saved", **options)
    adapter = publish(folder, kind=kind)
    helper = legal(adapter.engine_path)
    loaded = LoRAModel.from_local_checkpoint(
        str(adapter.engine_path), {"q_proj", "down_proj"}, helper, lora_model_id=1, device="cpu"
    )
    saved = load_file(folder / "adapter_model.safetensors")
    assert len(loaded.loras) == 4
    assert loaded.modules_to_save == {}
    for module, lora in loaded.loras.items():
        assert torch.equal(lora.lora_a, saved[f"base_model.model.{module}.lora_A.weight"])
        assert torch.equal(lora.lora_b, saved[f"base_model.model.{module}.lora_B.weight"])
        alpha = 16 if module.endswith("q_proj") else 8
        assert lora.scaling == pytest.approx(alpha / RANK**0.5)


@pytest.mark.parametrize("option", ODD)
def test_what_vllm_refuses_the_store_refuses_first(publish, tmp_path, option):
    folder = make_adapter(tmp_path / "odd", **{option: ODD[option]})
    with pytest.raises(ValueError, match=r"\S"):
        legal(folder)
    with pytest.raises(Refused, match=r"adapter_config\.json"):
        publish(folder)


def test_nothing_that_vllm_refuses_was_forgotten():
    """A field that a new vLLM reads is either harmless to the store, too, or refused by it."""
    from dataclasses import fields

    from motet_alignment.store.lora import HARMLESS, UNSUPPORTED

    read = {field.name for field in fields(PEFTHelper) if not field.name.startswith("vllm_")}
    assert read <= set(UNSUPPORTED) | HARMLESS
    refused = {*ODD, "target_modules", "lora_alpha", "use_rslora", "alpha_pattern"}
    assert read == refused, json.dumps(sorted(read ^ refused))
