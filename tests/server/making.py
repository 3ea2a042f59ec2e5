"""Adapters with large random weights, made in a second: what they answer differs from their base's at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from motet_alignment.store import Adapter, AdapterStore, fingerprint

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def make_lora(
    folder: Path, base: Path, *, seed: int, rank: int = 8, reward: bool = False, scale: float = 0.3
) -> Path:
    """Saves a LoRA of ``base`` as PEFT does, its B drawn at random too, and for a reward its head."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        options: dict[str, Any] = {"dtype": torch.float32}
        if reward:
            model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1, **options)
        else:
            model = AutoModelForCausalLM.from_pretrained(base, **options)
        config = LoraConfig(
            r=rank,
            lora_alpha=2 * rank,
            target_modules=TARGETS,
            task_type="SEQ_CLS" if reward else "CAUSAL_LM",
            modules_to_save=["score"] if reward else None,
        )
        tuned = get_peft_model(model, config)
        for name, parameter in tuned.named_parameters():
            if "lora_" in name or "modules_to_save" in name:
                parameter.data = torch.randn_like(parameter) * scale / parameter.shape[-1] ** 0.5
        tuned.save_pretrained(folder)
    return folder


def publish(store: AdapterStore, folder: Path, base: Path, name: str, **options: Any) -> Adapter:
    """Publishes what ``make_lora`` saved; current unless ``promote=False``."""
    options = {"kind": "sft", **options}
    return store.publish(folder, name=name, base=fingerprint(base), base_folder=base, **options)
