"""What the README prints works as printed, but for the port."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

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
def test_the_curl(bundled):
    (command,) = [block for block in blocks("sh") if block.startswith("curl ")]
    arguments = ["-sS", "--fail-with-body", "--noproxy", "*"]
    script = command.replace("curl ", f"curl {shlex.join(arguments)} ", 1).replace(ADDRESS, bundled.url)
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=120, check=True)
    answer = json.loads(done.stdout)
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


def test_every_option_exists():
    named = set(re.findall(r"--(?:contrast|preset|presets|amateur|host|port)[a-z-]*", README))
    shown = subprocess.run(
        [sys.executable, "-m", "motet_server", "serve", "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={"COLUMNS": "200", "PATH": "/usr/bin:/bin"},
    ).stdout
    assert named
    assert {option for option in named if option not in shown} == set()
