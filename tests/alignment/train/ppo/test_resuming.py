"""PPO runs that were broken off, killed, gone on with, and shared by processes: all come to the same end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from tests.alignment.train.conftest import same_weights, weights_of
from tests.alignment.train.ppo.conftest import asking, lines

from motet_alignment.errors import TrainError
from motet_alignment.store import Adapter, AdapterStore
from motet_alignment.train import train_ppo
from motet_alignment.train.ppo import run
from motet_alignment.train.ppo.rounds import Rounds

MOTET = Path(sys.executable).with_name("motet")


def test_a_run_that_broke_off_goes_on_to_the_same_end(
    place: dict, questions: Path, rewards: Path, tmp_path: Path
):
    """An error in the fifth iteration; the same settings go on after the fourth, to the weights of an unbroken run."""
    breaks = tmp_path / "breaks"
    given = asking(place, questions, rewards, reward=(f"python:{rewards}:trouble",), held_out=0.5)
    # A trial before the first rollout, the evaluation before it, four iterations and an evaluation.
    breaks.write_text("7")
    with pytest.raises(TrainError, match=r"(?s)out of patience.*questions\.jsonl:\d+"):
        train_ppo(given, progress=False)
    assert sorted(path.name for path in place["folder"].glob("checkpoint-*")) == [
        "checkpoint-2",
        "checkpoint-4",
    ]
    breaks.write_text("-1")
    ended = train_ppo(given, progress=False)
    whole = train_ppo(given.model_copy(update={"folder": tmp_path / "whole"}), progress=False)
    assert same_weights(ended.folder / "adapter", whole.folder / "adapter")
    timed = ("seconds", "_per_second")

    def told(folder: Path) -> list[dict]:
        return [
            {key: value for key, value in line.items() if not any(t in key for t in timed)}
            for line in lines(folder)
        ]

    assert told(ended.folder) == told(whole.folder)
    # Once more: nothing is left to do, and the same version is current.
    again = train_ppo(given, progress=False)
    assert again.adapter is not None
    assert ended.adapter is not None
    assert again.adapter.reference == ended.adapter.reference


def command(place: dict, questions: Path, rewards: Path, folder: Path) -> list[str]:
    options = (
        "--name even --rollouts transformers --prompts 64 --max-answer 4 --learning-rate 1e-2 --rank 4 --device cpu "
        "--iterations 10 --save-every 1 --eval-every 5 --held-out 0.5 --kl-coefficient 0.001 --minibatches 4"
    ).split()
    files = ["--model", place["model"], "--store", place["store"], "--folder", folder]
    return [str(part) for part in (questions, "--reward", f"python:{rewards}:even", *files, *options)]


def test_killed_and_started_again(place: dict, questions: Path, rewards: Path, tmp_path: Path):
    """kill -9 on the command; started again it says where it goes on, and ends as a run that nobody killed."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    broken = tmp_path / "broken"
    words = [str(MOTET), "train", "ppo", *command(place, questions, rewards, broken)]
    running = subprocess.Popen(words, env=environment, stderr=subprocess.DEVNULL)
    while not list(broken.glob("checkpoint-[3-9]/complete.json")):
        assert running.poll() is None, "ended before it could be killed"
        time.sleep(0.01)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert not (broken / "adapter").exists()
    ended = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=240)
    assert ended.returncode == 0, ended.stderr
    assert "going on after iteration" in ended.stderr
    assert "even@" in ended.stdout
    whole = tmp_path / "whole"
    unbroken = [str(MOTET), "train", "ppo", *command(place, questions, rewards, whole)]
    assert subprocess.run(unbroken, env=environment, capture_output=True, timeout=240).returncode == 0
    assert same_weights(broken / "adapter", whole / "adapter")


def test_two_processes_learn_what_one_does(place: dict, questions: Path, rewards: Path, tmp_path: Path):
    """Each answers half of the prompts; minibatches are others, so the two runs agree in what they come to."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    both = tmp_path / "both"
    launched = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        "--master-port",
        str(port),
    ]
    ends = ["--minibatches", "1", "--epochs", "1", "--iterations", "15"]
    words = [
        *launched,
        "-m",
        "motet_alignment.train",
        "ppo",
        *command(place, questions, rewards, both),
        *ends,
    ]
    ran = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=240)
    assert ran.returncode == 0, ran.stderr
    alone = tmp_path / "alone"
    words = [str(MOTET), "train", "ppo", *command(place, questions, rewards, alone), *ends]
    assert subprocess.run(words, env=environment, capture_output=True, timeout=240).returncode == 0
    first, second = lines(both), lines(alone)
    assert first[0]["eval_reward"] == pytest.approx(second[0]["eval_reward"])
    # One step an iteration is one batch's step whoever has which part of it; the same answers are drawn by the seeds.
    for one, other in zip(first, second, strict=True):
        for name in ("reward", "kl", "entropy", "length", "policy_loss", "gradient_norm", "eval_reward"):
            assert one.get(name) == pytest.approx(other.get(name), abs=1e-3), (one["iteration"], name)
    weights, others = weights_of(both / "adapter"), weights_of(alone / "adapter")
    assert all(torch.allclose(weights[name], others[name], atol=1e-3) for name in weights)


def test_killed_while_the_best_version_was_put_in_place(
    place: dict, questions: Path, rewards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The checkpoint that tells of it was there before: it is kept from that, and no iteration is made again."""
    given = asking(place, questions, rewards, iterations=4, eval_every=4, save_every=10, held_out=0.5)
    whole = train_ppo(given.model_copy(update={"folder": tmp_path / "whole"}), progress=False)
    assert whole.metrics["best_iteration"] == 4
    with monkeypatch.context() as killing:

        def killed(*_: object, **__: object) -> None:
            shutil.rmtree(place["folder"] / "best")
            raise KeyboardInterrupt

        killing.setattr(run, "publish", killed)
        with pytest.raises(KeyboardInterrupt):
            train_ppo(given, progress=False)
    assert not (place["folder"] / "best").exists()
    monkeypatch.setattr(Rounds, "one", lambda *_: pytest.fail("an iteration was made again"))
    ended = train_ppo(given, progress=False)
    assert same_weights(ended.folder / "best", whole.folder / "best")
    assert ended.adapter is not None
    assert whole.adapter is not None
    assert ended.adapter.reference == whole.adapter.reference


def test_a_run_is_gone_on_with_by_the_reward_it_began_with(
    place: dict, questions: Path, rewards: Path, judge: Adapter, tmp_path: Path
):
    """A version of the reward adapter that was published meanwhile is another reward, whatever its name."""
    from safetensors.torch import load_file, save_file

    store = AdapterStore(place["store"])
    known = {
        "name": "judge",
        "kind": "reward",
        "base": judge.manifest.base,
        "base_folder": Path(place["model"]),
    }
    first = store.publish(judge.path, **known)
    given = asking(
        place, questions, rewards, reward=("adapter:judge",), iterations=1, prompts=8, held_out=0.0
    )
    train_ppo(given, progress=False)
    assert json.loads((place["folder"] / "run.json").read_text())["reward"] == [f"adapter:{first.reference}"]
    other = shutil.copytree(judge.path, tmp_path / "other")
    weights = other / "adapter_model.safetensors"
    moved = {name: weight * 1.5 for name, weight in load_file(weights).items()}
    save_file(moved, weights, metadata={"format": "pt"})
    store.publish(other, **known)
    with pytest.raises(TrainError, match=rf"reward was \['adapter:{first.reference}'\] and is now"):
        train_ppo(given, progress=False)
    pinned = given.model_copy(update={"reward": (f"adapter:{first.reference}",)})
    assert train_ppo(pinned, progress=False).adapter is not None
