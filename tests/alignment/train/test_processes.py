"""Trainings as people start them: the command, killed and started again, and several processes at once."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from tests.alignment.train.conftest import same_weights, weights_of

from motet_alignment.store import AdapterStore

MOTET = Path(sys.executable).with_name("motet")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "MOTET_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}


def finish(command: list[str | Path], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert ran.returncode == 0, ran.stderr
    return ran


def test_killed_twice_and_started_again(tmp_path: Path, tiny: Path, sums: Path, environment):
    """kill -9 in the middle; the same command goes on, and ends with the weights of an unbroken run."""

    def command(folder: Path) -> list[str | Path]:
        options = (
            "--steps 150 --save-every 5 --batch-size 4 --dropout 0.1 --precision fp32 --device cpu".split()
        )
        return [MOTET, "train", "sft", sums, "--model", tiny, "--name", "adder", "--folder", folder, *options]

    broken = tmp_path / "broken"
    for _ in range(2):
        known = len(list(broken.glob("checkpoint-*/complete.json")))
        running = subprocess.Popen(command(broken), env=environment, stderr=subprocess.DEVNULL)
        before = max((step(path) for path in broken.glob("checkpoint-*/complete.json")), default=0)
        while (
            max((step(path) for path in broken.glob("checkpoint-*/complete.json")), default=0) <= before + 5
        ):
            assert running.poll() is None, f"ended before it could be killed, {known} checkpoints"
            time.sleep(0.01)
        running.send_signal(signal.SIGKILL)
        running.wait()
        assert not (broken / "adapter").exists()
    ended = finish(command(broken), environment)
    assert "going on after step" in ended.stderr
    published = AdapterStore(tmp_path / "home" / "adapters").get("adder")
    finish(command(tmp_path / "unbroken"), environment)
    assert same_weights(broken / "adapter", tmp_path / "unbroken" / "adapter")
    assert AdapterStore(tmp_path / "home" / "adapters").get("adder").version == published.version
    assert f"adapter   adder@{published.version} (current)" in ended.stdout
    assert '"model": "adder"' in ended.stdout
    steps = [json.loads(line)["step"] for line in (broken / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(steps)


def free_port() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])


def step(path: Path) -> int:
    return int(path.parent.name.rpartition("-")[2])


def test_two_processes_train_what_one_trains(tmp_path: Path, tiny: Path, pairs: Path, environment):
    """Two processes with a batch each, as torchrun and accelerate start them on CPUs and GPUs, against one with two."""
    shared = ["reward", pairs, "--model", tiny, "--precision", "fp32", "--held-out", "0.25", "--steps", "4"]
    shared += ["--batch-size", "5", "--no-publish", "--seed", "3"]
    launch = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc_per_node",
        "2",
        "--master_port",
        free_port(),
    ]
    two = finish(
        [*launch, "-m", "motet_alignment.train", *shared, "--device", "cpu", "--folder", tmp_path / "two"],
        environment,
    )
    one = [MOTET, "train", *shared, "--device", "cpu", "--accumulation", "2", "--folder", tmp_path / "one"]
    finish(one, environment)
    assert two.stdout.count("adapter   not published") == 1  # one process talks
    first, second = weights_of(tmp_path / "one" / "adapter"), weights_of(tmp_path / "two" / "adapter")
    for key, value in first.items():
        torch.testing.assert_close(second[key], value, rtol=1e-3, atol=1e-5)
    moved = [key for key, value in first.items() if "lora_B" in key and value.abs().max() > 1e-4]
    assert moved


def test_dpo_from_a_file_of_options(tmp_path: Path, tiny: Path, pairs: Path, environment):
    config = tmp_path / "dpo.yaml"
    config.write_text(
        f"data: {pairs}\nmodel: {tiny}\nname: polite\nsteps: 6\nbeta: 0.3\nlearning-rate: 0.001\ndevice: cpu\n"
        "precision: bf16\nlength-normalised: true\n"
    )
    finish([MOTET, "train", "dpo", "--config", config, "--steps", "4"], environment)
    manifest = AdapterStore(tmp_path / "home" / "adapters").get("polite").manifest
    assert manifest.kind == "dpo"
    assert (manifest.settings["steps"], manifest.settings["beta"]) == (4, 0.3)
    assert manifest.settings["precision"] == "bf16"
    assert manifest.metrics["steps"] == 4
