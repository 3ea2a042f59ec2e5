"""Real adapters of PEFT's on the bundled expert: published, they compute what they computed before."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.numpy import load_file
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
)

from motet_alignment.errors import Refused
from motet_alignment.store import AdapterStore, check, fingerprint
from motet_models import AMATEUR, EXPERT

TOKENS = torch.tensor([[5, 17, 99, 300, 21, 44, 7]])


@pytest.fixture(scope="module")
def expert():
    return fingerprint(EXPERT)


@pytest.fixture
def publish(store: AdapterStore, expert):
    def go(folder, kind="sft", **told):
        return store.publish(
            folder, **{"name": "x", "kind": kind, "base": expert, "base_folder": EXPERT, **told}
        )

    return go


def causal(**options):
    """The expert under a LoRA whose matrices are all drawn, so that it changes the answer."""
    torch.manual_seed(0)
    config = {
        "task_type": "CAUSAL_LM",
        "r": 8,
        "target_modules": "all-linear",
        "init_lora_weights": False,
        **options,
    }
    return get_peft_model(AutoModelForCausalLM.from_pretrained(EXPERT), LoraConfig(**config)).eval()


@torch.no_grad()
def test_causal_adapter_comes_back_as_it_was(publish, expert, tmp_path):
    model = causal(use_rslora=True, alpha_pattern={"q_proj": 3}, rank_pattern={"down_proj": 4})
    model.save_pretrained(tmp_path / "saved")
    adapter = publish(tmp_path / "saved")
    assert adapter.manifest.rank == 8
    check(adapter, expert, 8, base_folder=EXPERT)
    again = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(EXPERT), adapter.engine_path
    ).eval()
    assert torch.equal(model(TOKENS).logits, again(TOKENS).logits)
    with again.disable_adapter():
        assert not torch.allclose(model(TOKENS).logits, again(TOKENS).logits)


@torch.no_grad()
def test_half_precision_adapter_is_read_by_its_bits(publish, tmp_path):
    causal().to(torch.bfloat16).save_pretrained(tmp_path / "saved")
    assert publish(tmp_path / "saved").manifest.rank == 8
    model = causal().to(torch.bfloat16)
    model.base_model.model.model.layers[0].mlp.up_proj.lora_A["default"].weight[0, 0] = float("nan")
    model.save_pretrained(tmp_path / "broken")
    with pytest.raises(Refused, match=r"layers\.0\.mlp\.up_proj\.lora_A\.weight holds NaN"):
        publish(tmp_path / "broken")


@torch.no_grad()
def test_reward_adapter_whole_for_peft_and_split_for_the_engine(publish, expert, tmp_path):
    torch.manual_seed(0)

    def base():
        model = AutoModelForSequenceClassification.from_pretrained(EXPERT, num_labels=1)
        model.config.pad_token_id = 0
        return model

    config = LoraConfig(
        task_type="SEQ_CLS",
        r=4,
        target_modules=["q_proj", "v_proj"],
        modules_to_save=["score"],
        init_lora_weights=False,
    )
    model = get_peft_model(base(), config).eval()
    model.save_pretrained(tmp_path / "saved")
    adapter = publish(tmp_path / "saved", kind="reward")
    check(adapter, expert, 16, base_folder=EXPERT)

    scores = model(TOKENS).logits
    assert torch.equal(PeftModel.from_pretrained(base(), adapter.path).eval()(TOKENS).logits, scores)

    plain = AutoModelForCausalLM.from_pretrained(EXPERT)
    engine = PeftModel.from_pretrained(plain, adapter.engine_path).eval()
    hidden = engine(TOKENS, output_hidden_states=True).hidden_states[-1][:, -1]
    head = torch.from_numpy(load_file(adapter.head_path)["score.weight"])
    assert head.shape == (1, 256)
    torch.testing.assert_close(hidden @ head.T, scores)


def test_head_in_half_precision_becomes_float32(publish, tmp_path):
    torch.manual_seed(0)
    heads = {}
    for dtype in (torch.bfloat16, torch.float16, torch.float64):
        model = AutoModelForSequenceClassification.from_pretrained(EXPERT, num_labels=1)
        config = LoraConfig(task_type="SEQ_CLS", r=4, target_modules=["q_proj"], modules_to_save=["score"])
        model = get_peft_model(model, config).to(dtype)
        model.save_pretrained(tmp_path / str(dtype))
        adapter = publish(tmp_path / str(dtype), kind="reward")
        head = load_file(adapter.head_path)["score.weight"]
        expected = model.base_model.model.score.modules_to_save["default"].weight.detach().float().numpy()
        assert head.dtype == np.float32
        np.testing.assert_array_equal(head, expected)
        heads[dtype] = adapter.version
    assert len(set(heads.values())) == 3


def test_embeddings_saved_along_are_refused_with_the_way_out(publish, tmp_path):
    model = causal(target_modules=["q_proj", "embed_tokens"])
    model.save_pretrained(tmp_path / "whole")
    with pytest.raises(Refused, match="save_embedding_layers=False"):
        publish(tmp_path / "whole")
    model.save_pretrained(tmp_path / "pairs", save_embedding_layers=False)
    assert publish(tmp_path / "pairs").manifest.target_modules == ("embed_tokens", "q_proj")


def test_adapters_of_another_model_are_refused(publish, expert, tmp_path):
    torch.manual_seed(1)
    other = tmp_path / "other"
    LlamaForCausalLM(LlamaConfig.from_pretrained(EXPERT)).save_pretrained(other)
    for file in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (other / file).write_bytes((EXPERT / file).read_bytes())
    causal().save_pretrained(tmp_path / "saved")
    adapter = publish(tmp_path / "saved")
    # Of the same shape throughout: only the weights tell them apart.
    with pytest.raises(Refused, match=r"another base \(expert\) than other: different weights$"):
        check(adapter, fingerprint(other))
    with pytest.raises(Refused, match="it belongs to another model"):
        publish(tmp_path / "saved", base=fingerprint(AMATEUR), base_folder=AMATEUR)
    with pytest.raises(Refused, match=r"another base \(expert\) than amateur: different weights$"):
        check(adapter, fingerprint(AMATEUR))


def test_a_model_saved_again_in_pieces_is_the_same_base(expert, tmp_path):
    folder = tmp_path / "again"
    AutoModelForCausalLM.from_pretrained(EXPERT).save_pretrained(folder, max_shard_size="2MB")
    for file in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (folder / file).write_bytes((EXPERT / file).read_bytes())
    assert len(list(folder.glob("*.safetensors"))) > 1
    assert expert.differences(fingerprint(folder)) == ()
