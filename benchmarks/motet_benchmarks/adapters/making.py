"""Adapters that differ: random LoRA on every linear layer, each as strong as the next."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

#: The norm of what an adapter adds to a layer's weights, as a part of theirs: enough to change every greedy answer of
#: the bundled expert within a few words, and not enough to make it speak in riddles.
STRENGTH = 0.4


def make(folder: Path, weights: Mapping[str, torch.Tensor], *, rank: int, seed: int) -> int:
    """Writes an adapter as PEFT would into the new `folder`; how many bytes its matrices have.

    Args:
        folder: made here.
        weights: of the layers that it changes, [out, in], by name.
        rank: of its matrices.
        seed: adapters of the same seed are the same.
    """
    import torch
    from safetensors.torch import save_file

    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, weight in weights.items():
        first = torch.randn(rank, weight.shape[1], generator=generator)
        second = torch.randn(weight.shape[0], rank, generator=generator)
        second *= STRENGTH * weight.detach().float().norm() / (second @ first).norm()
        tensors[f"base_model.model.{name}.lora_A.weight"] = first
        tensors[f"base_model.model.{name}.lora_B.weight"] = second
    folder.mkdir(parents=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": rank,
        "lora_alpha": rank,
        "target_modules": sorted({name.rpartition(".")[2] for name in weights}),
        "bias": "none",
        "inference_mode": True,
    }
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    return sum(tensor.nbytes for tensor in tensors.values())
