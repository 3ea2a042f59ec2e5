"""Tiny base models and adapters as PEFT writes them, made without torch, and what is asked of a whole store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from motet_alignment.store import AdapterStore

HIDDEN, INNER, VOCAB, RANK = 32, 48, 64, 4
TEMPLATE = "{% for message in messages %}<{{ message.role }}>{{ message.content }}\n{% endfor %}"


def make_base(folder: Path, *, seed: int = 0, hidden: int = HIDDEN, **config: Any) -> Path:
    """A two-layer model's folder: configuration, weights, tokenizer and chat template."""
    folder.mkdir(parents=True)
    said = {
        "model_type": "llama",
        "hidden_size": hidden,
        "intermediate_size": INNER,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "rope_theta": 10000.0,
        "tie_word_embeddings": True,
        "vocab_size": VOCAB,
        **config,
    }
    (folder / "config.json").write_text(json.dumps(said))
    save_file(base_tensors(seed, hidden), folder / "model.safetensors")
    vocab = {f"t{index}": index for index in range(VOCAB)}
    rules = {"added_tokens": [], "model": {"type": "BPE", "vocab": vocab, "merges": ["t1 t2", "t3 t4"]}}
    (folder / "tokenizer.json").write_text(json.dumps(rules))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "t0"}))
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    return folder


def base_tensors(seed: int = 0, hidden: int = HIDDEN) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)

    def drawn(*shape: int) -> np.ndarray:
        return generator.normal(size=shape).astype("float32")

    tensors = {"model.embed_tokens.weight": drawn(VOCAB, hidden), "model.norm.weight": drawn(hidden)}
    for layer in range(2):
        tensors[f"model.layers.{layer}.self_attn.q_proj.weight"] = drawn(hidden, hidden)
        tensors[f"model.layers.{layer}.mlp.down_proj.weight"] = drawn(hidden, INNER)
    return tensors


def lora_tensors(seed: int = 0, *, rank: int = RANK, hidden: int = HIDDEN) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    tensors = {}
    for layer in range(2):
        for module, inputs in (("self_attn.q_proj", hidden), ("mlp.down_proj", INNER)):
            path = f"base_model.model.model.layers.{layer}.{module}"
            tensors[f"{path}.lora_A.weight"] = generator.normal(size=(rank, inputs)).astype("float32")
            tensors[f"{path}.lora_B.weight"] = generator.normal(size=(hidden, rank)).astype("float32")
    return tensors


def lora_config(rank: int = RANK, **options: Any) -> dict[str, Any]:
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "/somewhere/base",
        "r": rank,
        "lora_alpha": 8,
        "bias": "none",
        "target_modules": ["q_proj", "down_proj"],
        "modules_to_save": None,
        **options,
    }


def make_adapter(
    folder: Path,
    *,
    seed: int = 0,
    tensors: dict[str, np.ndarray] | None = None,
    rank: int = RANK,
    **options: Any,
) -> Path:
    """An adapter's folder as PEFT writes it, with what trainers leave beside it."""
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps(lora_config(rank, **options)))
    save_file(
        tensors or lora_tensors(seed, rank=rank), folder / "adapter_model.safetensors", {"format": "pt"}
    )
    (folder / "README.md").write_text("a card")
    return folder


def make_reward(folder: Path, *, seed: int = 0, **options: Any) -> Path:
    """A reward adapter's folder: a LoRA with the head that PEFT saves beside it."""
    head = np.random.default_rng(seed).normal(size=(1, HIDDEN)).astype("float32")
    tensors = {**lora_tensors(seed), "base_model.model.score.weight": head}
    saved = {"task_type": "SEQ_CLS", "modules_to_save": ["score", "classifier", "score"], **options}
    return make_adapter(folder, tensors=tensors, **saved)


def assert_whole(store: AdapterStore) -> None:
    """Every version is what it says it is, and every name stands for a version that is there, or for none."""
    for name in store.names():
        assert store.damaged(name) == {}
        versions = store.versions(name)
        assert versions
        for adapter in versions:
            store.verify(adapter)
        current = store.current(name)
        assert current is None or current in {adapter.version for adapter in versions}


def rests(store: AdapterStore) -> list[str]:
    """What is in the store's folder for things in the making, and isn't its lock."""
    staging = store.root / ".staging"
    return sorted(path.name for path in staging.iterdir() if path.name != ".door") if staging.exists() else []
