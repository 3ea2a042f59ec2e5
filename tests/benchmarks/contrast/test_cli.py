from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from motet_benchmarks import gym
from motet_benchmarks.cli import app
from motet_benchmarks.testing import Fake, running

FAMILY = next(iter(gym.FAMILIES))
DEAD = "http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["contrast", "--url", DEAD], f"{DEAD} doesn't answer"),
        (["contrast", "--url", DEAD, "--families", "juggling"], "--families: unknown juggling"),
        (
            ["contrast", "--url", DEAD, "--strength", "99"],
            "--strength: Input should be less than or equal to 10",
        ),
        (["contrast", "--url", DEAD, "--sweep", "--strength", "1"], "--sweep chooses strength"),
        (["contrast", "--model", "large"], "--model and --amateur: give both"),
        (["overhead", "--batches", "8,many"], "--batches 8,many: must be whole numbers"),
        (["overhead", "--batches", "0"], "--batches 0: must be whole numbers"),
        (["overhead", "--serve-options", '"open'], "--serve-options: No closing quotation"),
        (["overhead", "--model", "nowhere/at/all", "--amateur", "nor/this/one"], "--model nowhere/at/all: "),
        (
            ["overhead", "--dtype", "float32", "--model", "no/one", "--amateur", "no/one"],
            "can't load the models",
        ),
        (
            ["overhead", "--dtype", "float32", "--serve-options", "--dtype=auto"],
            "--serve-options: say --dtype",
        ),
        (
            ["overhead", "--no-loop", "--url-pair", DEAD, "--url-expert", DEAD],
            f"{DEAD} doesn't answer",
        ),
    ],
)
def test_mistakes_are_named_with_exit_code_2(words: list[str], message: str, tmp_path: Path):
    ran = CliRunner().invoke(app, [*words, "--out", str(tmp_path)])
    assert ran.exit_code == 2, ran.output
    assert message in ran.stderr
    assert "Traceback" not in ran.output
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_the_way_is_named_before_anything_is_measured(tmp_path: Path):
    file = tmp_path / "results"
    file.write_text("")
    with running(Fake()) as fake:
        ran = CliRunner().invoke(app, ["contrast", "--url", fake.url, "--out", str(file)])
    assert ran.exit_code == 2
    assert f"--out {file}: can't write there" in ran.stderr
    assert fake.bodies == []


def test_a_server_that_cannot_start_is_quoted(tmp_path: Path):
    words = ["contrast", "--model", str(tmp_path), "--amateur", str(tmp_path), "--out", str(tmp_path / "out")]
    ran = CliRunner().invoke(app, words)
    assert ran.exit_code == 2
    assert "the pair server died at its start (exit code 2)" in ran.stderr
    assert "config.json" in ran.stderr


def test_contrast_against_a_running_endpoint(tmp_path: Path):
    with running(Fake(models=("first", "second"))) as fake:
        words = f"--url {fake.url} --name second --families {FAMILY} --count 2 --strength 0.7".split()
        ran = CliRunner().invoke(app, ["contrast", *words, "--out", str(tmp_path)])
    assert ran.exit_code == 0, ran.output
    assert "all families" in ran.stdout
    facts = json.loads((tmp_path / "contrast.json").read_text())
    assert facts["model"] == "second"
    assert facts["contrast"]["strength"] == 0.7
    assert {body["model"] for body in fake.bodies} == {"second"}


def test_overhead_against_running_servers(tmp_path: Path):
    with running(Fake()) as fake:
        places = [word for name in ("pair", "expert") for word in (f"--url-{name}", fake.url)]
        words = ["--no-loop", "--batches", "2,1", "--tokens", "4", "--rounds", "2", "--out", str(tmp_path)]
        ran = CliRunner().invoke(app, ["overhead", *places, *words])
    assert ran.exit_code == 0, ran.output
    assert "plain on the pair / plain on the expert alone" in ran.stdout
    facts = json.loads((tmp_path / "overhead.json").read_text())
    assert facts["plan"]["batches"] == [1, 2]
    assert facts["rounds"] == 2


def test_help_comes_at_once():
    code = "import json, sys, motet_benchmarks.cli; print(json.dumps(sorted(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    loaded = set(json.loads(ran.stdout))
    assert loaded.isdisjoint(
        {"torch", "transformers", "vllm", "scipy", "numpy", "matplotlib", "httpx", "pydantic"}
    )
