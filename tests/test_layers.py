"""The house's walls: what importing a room loads, and what the installed distribution promises to others."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import distribution, entry_points

import pytest

ENGINE_AND_TRAINERS = ("vllm", "trl", "transformers", "peft", "datasets")
LIGHT_IMPORTS = {
    "motet_kernels": ENGINE_AND_TRAINERS,
    "motet_decoding": ENGINE_AND_TRAINERS,
    "motet_decoding.contrast": (*ENGINE_AND_TRAINERS, "torch"),
    "motet_decoding.best_of.run": (*ENGINE_AND_TRAINERS, "torch"),
    "motet_alignment": (*ENGINE_AND_TRAINERS, "torch"),
    "motet_alignment.store": (*ENGINE_AND_TRAINERS, "torch"),
    "motet_alignment.data": (*ENGINE_AND_TRAINERS, "torch"),
    "motet_models": (*ENGINE_AND_TRAINERS, "torch"),
    "motet_server.cli": (*ENGINE_AND_TRAINERS, "torch"),
}
GROUPS = (
    "console_scripts",
    "vllm.general_plugins",
    "vllm.endpoint_plugins",
    "motet.commands",
    "motet.evaluations",
    "motet.graders",
    "motet.scorers",
)
ENTRY_POINTS = [
    entry
    for group in GROUPS
    for entry in entry_points(group=group)
    if entry.dist is not None and entry.dist.name == "motet"
]


@pytest.mark.parametrize("module", LIGHT_IMPORTS)
def test_import_stays_light(module: str):
    code = f"import json, sys, {module}; print(json.dumps(sorted(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd="/")
    assert ran.returncode == 0, ran.stderr
    loaded = set(json.loads(ran.stdout))
    assert module in loaded
    assert loaded.isdisjoint(LIGHT_IMPORTS[module])


@pytest.mark.parametrize("entry", ENTRY_POINTS, ids=lambda entry: f"{entry.group}:{entry.name}")
def test_entry_point_leads_somewhere(entry):
    assert callable(entry.load())


def test_every_entry_point_group_is_registered():
    assert {(entry.group, entry.name) for entry in ENTRY_POINTS} == {
        ("console_scripts", "motet"),
        ("vllm.general_plugins", "motet"),
        ("vllm.endpoint_plugins", "motet"),
        ("motet.commands", "data"),
        ("motet.commands", "train"),
        ("motet.commands", "adapters"),
        ("motet.commands", "models"),
        ("motet.commands", "bench"),
        ("motet.evaluations", "gym"),
        ("motet.graders", "gym"),
        ("motet.scorers", "certainty"),
        ("motet.scorers", "likelihood"),
    }


@pytest.mark.parametrize("room", ["kernels", "decoding", "alignment", "server", "benchmarks", "models"])
def test_rooms_are_importable_only_under_our_prefix(room: str):
    """transformers and TRL take any importable `kernels` for Hugging Face's package of that name."""
    code = f"import importlib.util as u; print(u.find_spec({room!r}), u.find_spec('motet_{room}').name)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd="/")
    assert ran.stdout.split() == ["None", f"motet_{room}"], ran.stderr


def test_vllm_is_left_to_the_locks():
    requirements = distribution("motet").requires or []
    assert requirements
    assert not [line for line in requirements if line.startswith("vllm")]
