"""What the README prints works as printed, but for the port."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from itertools import takewhile
from pathlib import Path

import pytest
import typer
from markdown_it import MarkdownIt
from tests.servers import needs_curl, pasted
from typer.main import get_command

from motet_server.cli import app

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
ADDRESS = "http://127.0.0.1:8000"


def blocks(language):
    """The fenced code of a language, in order."""
    return [
        token.content
        for token in MarkdownIt().parse(README)
        if (token.type, token.info) == ("fence", language)
    ]


@pytest.mark.engine
@needs_curl
def test_the_curl(bundled):
    (command,) = [block for block in blocks("sh") if block.startswith("curl ")]
    script = command.replace("curl ", "curl -sS --fail-with-body ", 1).replace(ADDRESS, bundled.url)
    answer = json.loads(pasted(script))
    assert answer["choices"][0]["message"]["content"]
    assert answer["motet"]["contrast"] == {
        "against": "amateur",
        "strength": 1.0,
        "plausibility": 0.1,
        "form": "extrapolate",
        "amateur_temperature": 1.0,
    }


@pytest.mark.engine
def test_the_client(bundled):
    (program,) = blocks("python")
    done = subprocess.run(
        [sys.executable, "-c", program.replace(ADDRESS, bundled.url)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    alone, against, preset = done.stdout.splitlines()
    assert re.fullmatch(r"expert alone: \S.*", alone)
    assert re.fullmatch(r"against the amateur: \S.* \{'contrast': \{.*'strength': 1\.0.*\}\}", against)
    assert re.fullmatch(r"by preset, streamed: \S.*", preset)


def test_every_make_target_is_one():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z]+)", "\n".join(blocks("sh") + re.findall(r"`([^`]+)`", README))))
    assert {"serve", "test"} <= named <= targets


def test_every_place_in_the_map_is_there():
    (tree,) = [block for block in blocks("") if "motet_kernels" in block]
    folder = ROOT
    for line in tree.splitlines():
        name = line.split()[0]
        if line.startswith(" "):
            assert (folder / name).exists(), line
        else:
            folder = ROOT / name
            assert folder.exists(), line


def spans():
    """The code within sentences and tables."""
    children = [child for token in MarkdownIt().parse(README) for child in token.children or []]
    return [child.content for child in children if child.type == "code_inline"]


def known_options(*names):
    """The options of a command of motet's; those of `serve` include vLLM's."""
    command = get_command(app)
    for name in names:
        _, command, _ = command.resolve_command(typer.Context(command), [name])
    known = {option for one in command.get_params(typer.Context(command)) for option in one.opts}
    if names == ("serve",):
        asked = [sys.executable, "-m", "motet_server", "serve", "--vllm-help"]
        shown = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
        known.update(
            re.findall(r"--[\w-]+", "".join(line for line in shown.splitlines() if line.startswith("  -")))
        )
    return known


def test_every_option_exists():
    written = [f"motet serve {span}" if span.startswith("-") else span for span in spans()]
    written += "\n".join(blocks("sh")).splitlines()
    named = {}
    for line in written:
        if re.match(r"(\.venv/bin/)?motet\s", line):
            command = tuple(takewhile(re.compile("[a-z]+").fullmatch, line.split()[1:]))
            named.setdefault(command, set()).update(re.findall(r"(?<!\S)--[a-z][\w-]*", line))
    assert {"--contrast-strength", "--amateur", "--tensor-parallel-size", "--vllm-help"} <= named["serve",]
    for command, options in named.items():
        assert options <= known_options(*command), f"motet {' '.join(command)}"
