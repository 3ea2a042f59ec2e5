"""A base model of a few thousand weights with the bundled tokenizer, data files, and a training in this process."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest

from motet_models import EXPERT

TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


def write_lines(path: Path, rows) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama: 2 layers of width 64, the bundled vocabulary."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("bases") / "tiny"
    config = LlamaConfig(
        vocab_size=768,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=2,
        pad_token_id=0,
        initializer_range=0.2,  # so that its few weights can be sure of something
        dtype="float32",
    )
    with torch.random.fork_rng():
        torch.manual_seed(1)
        LlamaForCausalLM(config).save_pretrained(folder)
    for name in TOKENIZER:
        shutil.copy(EXPERT / name, folder / name)
    return folder


def turn(question: str, answer: str) -> dict:
    return {
        "messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}],
    }


@pytest.fixture(scope="session")
def sums(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 conversations."""
    dice = random.Random(0)
    pairs = [(dice.randint(1, 99), dice.randint(1, 99)) for _ in range(24)]
    rows = [turn(f"What is {a} + {b}?", str(a + b)) for a, b in pairs]
    return write_lines(tmp_path_factory.mktemp("data") / "sums.jsonl", rows)


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 pairs in which the better answer ends with its question's own word."""
    dice = random.Random(1)
    words = [f"{dice.choice('bcdfg')}a{dice.choice('lmnrt')}e{place}" for place in range(24)]
    rows = [{"prompt": f"Say {word}.", "chosen": f"good {word}", "rejected": f"bad {word}"} for word in words]
    return write_lines(tmp_path_factory.mktemp("data") / "pairs.jsonl", rows)


@pytest.fixture
def place(tmp_path: Path, tiny: Path) -> dict:
    """Settings that every training here shares."""
    return {
        "model": str(tiny),
        "store": tmp_path / "store",
        "folder": tmp_path / "run",
        "precision": "fp32",
        "device": "cpu",
        "held_out": 0.25,
        "rank": 8,
        "schedule": "constant",
        "eval_every": 1000,  # plots take a moment
    }


def weights_of(folder: Path) -> dict:
    """The tensors of a saved adapter."""
    from safetensors.torch import load_file

    return load_file(folder / "adapter_model.safetensors")


def same_weights(one: Path, other: Path) -> bool:
    """Whether two saved adapters are equal bit by bit."""
    import torch

    first, second = weights_of(one), weights_of(other)
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)
