"""A tiny base and adapters of it, made once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.server.making import make_lora

from motet_decoding.testing import byte_tokenizer, llama_config, write_model


@dataclass(frozen=True)
class Made:
    """A base and what PEFT saved of its adapters."""

    base: Path
    loras: tuple[Path, ...]
    reward: Path


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    root = tmp_path_factory.mktemp("made")
    tokenizer = byte_tokenizer()
    base = write_model(
        root / "base", llama_config(32, 1, vocab_size=len(tokenizer)), seed=1, tokenizer=tokenizer
    )
    loras = tuple(make_lora(root / f"lora-{seed}", base, seed=seed, rank=4) for seed in range(3))
    return Made(base, loras, make_lora(root / "reward", base, seed=9, rank=4, reward=True))
