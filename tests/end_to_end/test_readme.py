"""What the README prints works as printed, but for the port."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from itertools import takewhile
from pathlib import Path

import pytest
import typer
from markdown_it import MarkdownIt
from tests.servers import needs_curl, pasted, wait_for
from typer.main import get_command

from motet_decoding.best_of.candidate import Candidate, Question
from motet_server.best_of.functions import OwnScorer, load_function
from motet_server.best_of.options import check_scorers
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


def curls(bundled):
    """The answers to the README's curl commands, in order."""
    commands = [part for block in blocks("sh") if block.startswith("curl ") for part in block.split("\n\n")]
    for command in commands:
        script = command.replace("curl ", "curl -sS --fail-with-body ", 1).replace(ADDRESS, bundled.url)
        yield json.loads(pasted(script))


@pytest.mark.engine
@needs_curl
def test_the_curls(bundled):
    contrast, best_of, adapter, rewards, base, rule, layers, several = curls(bundled)
    assert contrast["choices"][0]["message"]["content"]
    assert contrast["motet"]["contrast"] == {
        "against": "amateur",
        "strength": 1.0,
        "plausibility": 0.1,
        "form": "extrapolate",
        "amateur_temperature": 1.0,
        "adapt": None,
    }
    told = best_of["motet"]["best_of"]
    texts = [candidate["text"] for candidate in told["texts"]]
    assert best_of["choices"][0]["message"]["content"] == texts[told["scores"].index(max(told["scores"]))]
    assert adapter["choices"][0]["message"]["content"]
    assert adapter["model"].startswith("motet-dpo@")
    right, wrong = (entry["reward"] for entry in rewards["data"])
    assert right > wrong
    for answer in (base, rule, layers, several):
        assert answer["choices"][0]["message"]["content"]
    assert base["motet"]["adapter"].startswith("motet-dpo@")
    against = [answer["motet"]["contrast"]["against"] for answer in (base, rule, layers, several)]
    assert (against[0], against[2]) == ("base", {"layers": "low"})
    assert list(against[1]) == ["prompt_tokens"]
    named = [(each["voice"]["adapter"].split("@")[0], each["weight"]) for each in against[3]]
    assert named == [("motet-dpo", -1.0), ("motet-sft", 1.0)]
    assert several["motet"]["contrast"]["adapt"] == {"by": "divergence", "scale": 1.0}


def shell(script, folder):
    """What the commands say, run where they are installed."""
    commands = script.replace(".venv/bin/", f"{Path(sys.executable).parent}/")
    done = subprocess.run(
        ["bash", "-euc", commands], cwd=folder, capture_output=True, text=True, timeout=800, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout + done.stderr


@pytest.mark.engine
@pytest.mark.timeout(900)
def test_the_loop_from_data_to_answers(bundled, tmp_path):
    (script,) = [block for block in blocks("sh") if "motet train sft" in block]
    assert re.search(r"mine@[0-9a-f]{12}", shell(script, tmp_path))
    wait_for(lambda: "mine" in [model.id for model in bundled.client().models.list().data])
    question = [{"role": "user", "content": "What is 17 + 25?"}]
    answer = bundled.client().chat.completions.create(model="mine", messages=question, temperature=0)
    assert answer.model.startswith("mine@")
    assert answer.choices[0].message.content
    # And on to PPO, as printed but for the number of iterations: whether so few make it better is chance.
    (script,) = [block for block in blocks("sh") if "motet train ppo" in block]
    done = shell(script.replace("--iterations 20", "--iterations 3"), tmp_path)
    assert re.search(r"better@[0-9a-f]{12}|no version was better", done), done


@pytest.mark.engine
@pytest.mark.timeout(900)
def test_the_benchmarks(bundled, tmp_path):
    (script,) = [block for block in blocks("sh") if "motet bench strategies" in block]
    shell(script.replace(ADDRESS, bundled.url), tmp_path)
    report = json.loads((tmp_path / "mine" / "report.json").read_text())
    assert report["answers"] == report["expected"] > 300
    page = (tmp_path / "mine" / "report.html").read_text()
    assert "Serving under load" in page
    assert "motet-sft/best-of-8" in page


@pytest.mark.engine
def test_the_client(bundled):
    (program,) = [block for block in blocks("python") if "OpenAI(" in block]
    (further,) = [block for block in blocks("python") if "against the base" in block]
    program = f"{program}\n{further}"
    done = subprocess.run(
        [sys.executable, "-c", program.replace(ADDRESS, bundled.url)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    alone, against, preset, base = done.stdout.splitlines()
    assert re.fullmatch(r"expert alone: \S.*", alone)
    assert re.fullmatch(r"against the amateur: \S.* \{'contrast': \{.*'strength': 1\.0.*\}\}", against)
    assert re.fullmatch(r"by preset, streamed: \S.*", preset)
    assert re.fullmatch(r"against the base: \S.* \{'adapter': 'motet-dpo@.*'against': 'base'.*\}", base)


def test_a_scorer_of_ones_own_is_one(tmp_path):
    (program,) = [block for block in blocks("python") if "def shortest" in block]
    file = tmp_path / "scorers.py"
    file.write_text(program)
    where = check_scorers([f"mine=python:{file}:shortest"])["mine"]
    scorer = OwnScorer("mine", load_function(where.removeprefix("python:"), "--scorer mine"), 10.0)
    candidates = [Candidate(index, text, (1,), "stop") for index, text in enumerate(["aa", "b"])]
    assert list(asyncio.run(scorer.score(Question(prompt_ids=(1,)), candidates))) == [-2.0, -1.0]


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
        if not hasattr(command, "resolve_command"):
            break  # the words behind a command are its arguments
        _, command, _ = command.resolve_command(typer.Context(command), [name])
    known = {
        option
        for one in command.get_params(typer.Context(command))
        for option in (*one.opts, *one.secondary_opts)
    }
    if names == ("serve",):
        asked = [sys.executable, "-m", "motet_server", "serve", "--vllm-help"]
        shown = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
        known.update(
            re.findall(r"--[\w-]+", "".join(line for line in shown.splitlines() if line.startswith("  -")))
        )
    return known


#: Whose options a sentence may name without naming the command.
SPOKEN_OF = [
    ("serve",),
    ("bench", "strategies"),
    *(("train", kind) for kind in ("sft", "dpo", "reward", "ppo")),
    *(("data", name) for name in ("inspect", "convert", "kappa")),
    *(
        ("adapters", name)
        for name in ("list", "show", "promote", "rollback", "remove", "prune", "add", "verify")
    ),
]


def test_every_option_exists():
    written = spans() + "\n".join(blocks("sh")).splitlines()
    named, alone = {}, set()
    for line in written:
        options = set(re.findall(r"(?<!\S)--[a-z][\w-]*", line))
        if re.match(r"(\.venv/bin/)?motet\s", line):
            command = tuple(takewhile(re.compile("[a-z]+(-[a-z]+)*").fullmatch, line.split()[1:]))
            named.setdefault(command, set()).update(options)
        elif line.startswith("-"):
            alone |= options
    assert {"--amateur", "--port"} <= named["serve",]
    for command, options in named.items():
        assert options <= known_options(*command), f"motet {' '.join(command)}"
    assert {"--contrast-strength", "--tensor-parallel-size", "--adapter-slots", "--on-bad"} <= alone
    assert alone <= set().union(*(known_options(*command) for command in SPOKEN_OF))
