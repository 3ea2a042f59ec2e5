"""A tokenizer to render with, files to read, and what is learnt of a rendered conversation."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from motet_alignment.data import Message, Rendered
from motet_models import EXPERT

SHARED = Path(__file__).parents[4] / "shared" / "data"


@pytest.fixture(scope="session")
def tokenizer():
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(EXPERT)


@pytest.fixture
def lines(tmp_path: Path) -> Callable[..., Path]:
    """Writes rows, or texts as they are, as JSON lines."""

    def write(*rows: Any, name: str = "data.jsonl") -> Path:
        path = tmp_path / name
        texts = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def chat() -> Callable[..., tuple[Message, ...]]:
    """A conversation of the user's and the assistant's turns."""

    def build(*contents: str, system: str = "") -> tuple[Message, ...]:
        turns = [
            Message(role="assistant" if place % 2 else "user", content=content)
            for place, content in enumerate(contents)
        ]
        return (*([Message(role="system", content=system)] if system else []), *turns)

    return build


@pytest.fixture(scope="session")
def learnt() -> Callable[[Any, Rendered], list[str]]:
    """The runs of tokens that carry loss, as text."""

    def runs(tokenizer: Any, rendered: Rendered) -> list[str]:
        assert len(rendered.input_ids) == len(rendered.assistant)
        found: list[list[int]] = []
        before = 0
        for token, flag in zip(rendered.input_ids, rendered.assistant, strict=True):
            if flag and not before:
                found.append([])
            if flag:
                found[-1].append(token)
            before = flag
        return [tokenizer.decode(run) for run in found]

    return runs


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """A file of the real data that stands beside the repository on some machines."""

    def find(name: str) -> Path:
        path = SHARED / name
        if not path.is_file():
            pytest.skip(f"needs real data at {path}, which is not part of the project")
        return path

    return find
