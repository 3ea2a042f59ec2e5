"""One real server per module that asks for one, on the smallest models the engine takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from motet_decoding.testing import CHAT_TEMPLATE, byte_tokenizer, llama_config, write_model

#: Long enough that a request can be left long before its end.
CONTEXT = 16_384


def make_model(folder: Path, *, seed: int, hidden: int, layers: int, chat_template: str | None) -> Path:
    """A random Llama over bytes; the same tokenizer whatever the seed."""
    tokenizer = byte_tokenizer(chat_template=chat_template)
    config = llama_config(hidden, layers, vocab_size=len(tokenizer), max_position_embeddings=CONTEXT)
    return write_model(folder, config, seed=seed, tokenizer=tokenizer)


def token_id(character: str) -> int:
    """The token of one ASCII character in ``make_model``'s vocabulary."""
    return byte_tokenizer().encode(character)[0]


@dataclass(frozen=True)
class Models:
    expert: Path
    amateur: Path
    untemplated: Path


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    root = tmp_path_factory.mktemp("models")
    return Models(
        expert=make_model(root / "expert", seed=1, hidden=64, layers=2, chat_template=CHAT_TEMPLATE),
        amateur=make_model(root / "amateur", seed=2, hidden=32, layers=1, chat_template=CHAT_TEMPLATE),
        untemplated=make_model(root / "untemplated", seed=3, hidden=32, layers=1, chat_template=None),
    )
