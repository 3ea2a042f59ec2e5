from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest


def motet(*arguments: str, path: Path | None = None, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    extra = {"PYTHONPATH": os.pathsep.join([str(path), os.environ.get("PYTHONPATH", "")])} if path else {}
    return subprocess.run(
        [sys.executable, "-m", "motet_server", *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1", **extra},
        check=False,
    )


@pytest.fixture
def model(tmp_path: Path) -> str:
    """What looks like a model to every check before the engine."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    return str(folder)


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """A room of its own that adds the command `sing`, and a broken one that adds `fail`."""
    information = tmp_path / "choir-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: choir\nVersion: 1\n")
    (information / "entry_points.txt").write_text(
        "[motet.commands]\nsing = choir.cli:app\nfail = choir.broken:app\n"
    )
    package = tmp_path / "choir"
    package.mkdir()
    (package / "__init__.py").write_text("print('choir was imported')\n")
    (package / "broken.py").write_text(
        '"""A command that can\'t be imported."""\nraise RuntimeError("broken")\n'
    )
    (package / "cli.py").write_text(
        '"""Sing a note."""\nimport typer\napp = typer.Typer()\n@app.command()\ndef sing(note: str) -> None:\n'
        "    print('la', note)\n"
    )
    return tmp_path


def test_help_neither_imports_an_engine_nor_takes_long():
    script = (
        "import sys\nfrom motet_server.cli import app\n"
        "for arguments in (['--help'], ['serve', '--help']):\n"
        "    try:\n        app(arguments)\n    except SystemExit as end:\n        assert end.code == 0\n"
        "heavy = {'torch', 'vllm', 'transformers', 'fastapi', 'motet_benchmarks'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "--amateur" in done.stdout
    assert time.monotonic() - started < 20


def test_version_names_motet_and_the_engine():
    done = motet("version")
    assert done.returncode == 0
    assert done.stdout.startswith("motet ")
    assert "torch " in done.stdout


def test_other_rooms_commands_are_listed_without_being_imported(plugin):
    listing = motet("--help", path=plugin)
    assert "Sing a note." in listing.stdout
    assert "can't be imported" in listing.stdout
    assert "choir was imported" not in listing.stdout
    assert "la A" in motet("sing", "A", path=plugin).stdout


def test_an_unknown_command_is_refused():
    assert motet("sign").returncode == 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["/no/such/model"], "model: /no/such/model doesn't exist"),
        (["./no-such-model"], "model: ./no-such-model doesn't exist"),
        (["{tmp}"], "no config.json"),
        (["{model}", "--amateur", "/no/such/model"], "amateur: /no/such/model doesn't exist"),
        (["--model", "{model}", "--amateur", "{tmp}"], "amateur: "),
        (["{model}", "--amateur-revision", "main"], "--amateur-revision"),
        (["{model}", "--model", "{model}"], "named twice"),
        (["{model}", "--contrast-strength", "-1"], "--contrast-strength"),
        (["{model}", "--contrast-plausibility", "nan"], "--contrast-plausibility"),
        (["{model}", "--presets", "/no/such/file.yaml"], "/no/such/file.yaml"),
        (["{model}", "--preset", "sharp"], "NAME=JSON"),
        (["{model}", "--preset", 'sharp={"contrast": true}'], "--amateur"),
        (["{model}", "--port", "70000"], "--port"),
        (["{model}", "--host", "256.1.1.1"], "256.1.1.1"),
        (["{model}", "--default-chat-template", "alpaca"], "alpaca"),
        (["{model}", "--max-body", "0"], "--max-body"),
        (["{model}", "--max-choices", "0"], "--max-choices"),
        (["{model}", "--adapters", "{tmp}", "--no-adapters"], "--no-adapters says the opposite"),
        (["{model}", "--max-adapters", "0"], "--max-adapters"),
        (["{model}", "--reward", "helpful"], "--reward helpful: must be NAME=MODEL"),
        (["{model}", "--reward", "helpful=/no/such/model"], "--reward helpful: /no/such/model doesn't exist"),
        (["{model}", "--config", "/no/such/file.yaml"], "/no/such/file.yaml"),
        (["{model}", "--config={tmp}/options.yaml"], "options.yaml: max_body: an option of motet's own"),
    ],
)
def test_what_cannot_be_served_is_said_at_once(model, tmp_path, arguments, told):
    (tmp_path / "options.yaml").write_text("max_body: 5\n")
    filled = [argument.replace("{model}", model).replace("{tmp}", str(tmp_path)) for argument in arguments]
    started = time.monotonic()
    done = motet("serve", *filled)
    assert done.returncode == 2
    assert told in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr
    assert time.monotonic() - started < 15


def test_a_port_in_use_is_said_before_anything_is_loaded(model):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = motet("serve", model, "--port", str(port))
    assert done.returncode == 2
    assert f"port {port} on 127.0.0.1 is in use" in done.stderr


@pytest.mark.engine
def test_an_option_that_nobody_knows_is_said_with_the_one_that_was_meant(model):
    done = motet("serve", model, "--max-modl-len", "100", timeout=120)
    assert done.returncode == 2
    assert (
        "--max-modl-len: neither motet nor vLLM has this option; did you mean --max-model-len?" in done.stderr
    )
    assert "usage:" not in done.stderr
