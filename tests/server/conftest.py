"""Real servers on the smallest models that the engine takes; the pair's answers several modules."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.servers import Server, running_server

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


#: Scorers of somebody's own, as a file of theirs has them.
SCORERS = """
import asyncio


def shortest(question, candidates):
    assert question.messages or question.prompt
    return [-len(candidate.text) for candidate in candidates]


async def slow(question, candidates):
    await asyncio.sleep(3)
    return [candidate.index for candidate in candidates]


def broken(question, candidates):
    raise RuntimeError("out of order")


def endless(question, candidates):
    return [float("nan") for _ in candidates]
"""


class Remote(BaseHTTPRequestHandler):
    """Scores by how many distinct characters an answer has."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        items = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["items"]
        body = json.dumps({"rewards": [len(set(item["answer"])) for item in items]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="session")
def pair(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An expert and an amateur, presets, tools, and scorers of somebody's own."""
    folder = tmp_path_factory.mktemp("pair")
    presets, scorers = folder / "presets.yaml", folder / "scorers.py"
    presets.write_text("strong: {contrast: {strength: 2.0, plausibility: 0.01, form: ratio}}\n")
    scorers.write_text(SCORERS)
    remote = ThreadingHTTPServer(("127.0.0.1", 0), Remote)
    threading.Thread(target=remote.serve_forever, daemon=True).start()
    options = ["--served-model-name", "toy", "alias", "--dtype", "float32", "--presets", str(presets)]
    options += ["--enable-auto-tool-choice", "--tool-call-parser", "hermes", "--max-body", "200000"]
    options += ["--layers", "all"]
    options += ["--structured-outputs-config", '{"backend": "xgrammar", "disable_any_whitespace": true}']
    for name in ("shortest", "slow", "broken", "endless"):
        options += ["--scorer", f"{name}=python:{scorers}:{name}"]
    options += ["--scorer", f"remote=http://127.0.0.1:{remote.server_port}/score", "--max-candidates", "16"]
    arguments = [str(models.expert), "--amateur", str(models.amateur), *options]
    try:
        yield from running_server(arguments, folder / "pair.log")
    finally:
        remote.shutdown()
        remote.server_close()
