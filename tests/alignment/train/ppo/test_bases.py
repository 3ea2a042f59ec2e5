"""Bases of several families, and adapters with what their own trainings brought: all are answered and learnt alike."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from tests.alignment.train.conftest import TOKENIZER
from tests.alignment.train.ppo.test_actor_critic import PLACE, alone, rollouts_of, said, settings_of, stirred

from motet_alignment.store import Adapter, AdapterStore
from motet_alignment.train.models import open_base
from motet_alignment.train.ppo.actor_critic import ActorCritic
from motet_alignment.train.ppo.microbatch import collate

FAMILIES = {
    "Qwen2": {"num_key_value_heads": 1},
    "Gemma2": {"head_dim": 16, "sliding_window": 8, "num_key_value_heads": 1},
    "GPT2": {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64},
    "OPT": {"ffn_dim": 64, "word_embed_proj_dim": 32, "bos_token_id": 2},
    "Bloom": {"n_layer": 2, "n_head": 2},
}


@pytest.mark.filterwarnings("ignore:fan_in_fan_out")
@pytest.mark.parametrize("family", FAMILIES)
def test_bases_of_other_families(tmp_path: Path, tiny: Path, family: str):
    """Rows padded together are as alone, whatever the family calls its layers, also with gradients computed anew."""
    import transformers

    config = getattr(transformers, f"{family}Config")(
        vocab_size=768,
        max_position_embeddings=64,
        eos_token_id=2,
        pad_token_id=0,
        **{name: 32 for name in ("hidden_size", "intermediate_size") if family != "GPT2"},
        **({} if family in ("GPT2", "Bloom") else {"num_hidden_layers": 2, "num_attention_heads": 2}),
        **FAMILIES[family],
    )
    folder = tmp_path / "base"
    with torch.random.fork_rng():
        torch.manual_seed(1)
        transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    for name in TOKENIZER:
        shutil.copy(tiny / name, folder / name)
    settings = settings_of(folder, gradient_checkpointing=True)
    actor = stirred(ActorCritic(settings, open_base(settings), PLACE, reference=None))
    actor.save_policy(tmp_path / "policy")
    policy, base = alone(folder, tmp_path / "policy"), alone(folder, None)
    rollouts = rollouts_of(4)
    batch = collate(rollouts, range(4), "cpu")
    logprobs, _ = actor.logprobs(batch, with_entropy=False)
    logprobs.sum().backward()
    values = actor.values(batch)
    values.sum().backward()
    assert all(weight.grad is not None for weight in actor.policy_parameters.values())
    reference = actor.reference_logprobs(batch)
    for row, rollout in enumerate(rollouts):
        count = len(rollout.ids)
        assert logprobs[row, :count].tolist() == pytest.approx(said(policy, rollout, 1.0)[0], abs=2e-4)
        assert reference[row, :count].tolist() == pytest.approx(said(base, rollout, 1.0)[0], abs=2e-4)


def with_dropout(store: AdapterStore, tiny: Path, folder: Path, share: float):
    """A published policy whose LoRA was trained with dropout."""
    settings = settings_of(tiny)
    base = open_base(settings)
    stirred(ActorCritic(settings, base, PLACE, reference=None)).save_policy(folder)
    described = folder / "adapter_config.json"
    config = json.loads(described.read_text("utf-8"))
    described.write_text(json.dumps({**config, "lora_dropout": share}), "utf-8")
    return store.publish(folder, name="start", kind="sft", base=base.fingerprint, base_folder=base.folder)


def test_nothing_is_dropped_where_gradients_are_computed_anew(tmp_path: Path, tiny: Path):
    """Neither of the policy nor of the reference, whatever their dropout was, and also without values."""
    start = with_dropout(AdapterStore(tmp_path / "store"), tiny, tmp_path / "start", 0.5)
    settings = settings_of(
        tiny,
        start="start",
        store=tmp_path / "store",
        estimator="rloo",
        answers=2,
        gradient_checkpointing=True,
    )
    actor = ActorCritic(settings, open_base(settings), PLACE, reference=start)
    batch = collate(rollouts_of(4), range(4), "cpu")
    with torch.no_grad():
        policy = actor.logprobs(batch, with_entropy=False)[0]
    assert torch.equal(policy, actor.reference_logprobs(batch))


def test_gradients_are_computed_anew_beside_a_reward_adapter(tmp_path: Path, tiny: Path, judge: Adapter):
    """Loading one leaves the layers in the mode in which they do, except while the policy answers."""
    settings = settings_of(tiny, gradient_checkpointing=True)
    actor = stirred(ActorCritic(settings, open_base(settings), PLACE, reference=None))
    actor.add_reward(judge)([[5, 6, 7]])
    passed = []
    layer = actor.model.get_base_model().model.layers[0]
    layer.self_attn.register_forward_hook(lambda *_: passed.append(1))
    batch = collate(rollouts_of(2), range(2), "cpu")
    actor.logprobs(batch, with_entropy=False)[0].sum().backward()
    assert len(passed) == 2
    # A cache and gradients computed anew go together badly: an answer would see its last token alone.
    actor.save_policy(tmp_path / "policy")
    ids = torch.tensor([[5, 9, 300, 41]])
    options = {"max_new_tokens": 6, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    with actor.as_policy() as model:
        answer = model.generate(input_ids=ids, **options)
    assert torch.equal(answer, alone(tiny, tmp_path / "policy").generate(input_ids=ids, **options))
    assert actor.model.training
