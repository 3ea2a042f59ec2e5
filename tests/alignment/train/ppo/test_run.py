"""Whole PPO trainings of a tiny model, answers by transformers: better, stopped, broken off, gone on with."""

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
from tests.alignment.train.conftest import same_weights, weights_of, write_lines

from motet_alignment.errors import AlignmentError, TrainError
from motet_alignment.store import Adapter, AdapterStore
from motet_alignment.train import PpoSettings, train_ppo
from motet_alignment.train.ppo import run
from motet_alignment.train.ppo.rounds import Rounds, drawn, seed_of

MOTET = Path(sys.executable).with_name("motet")
# What is rewarded are answers of even tokens, of which a random model says about half; `trouble` breaks a run off.
REWARDS = """
from pathlib import Path

def even(answered):
    return [sum(token % 2 == 0 for token in one.answer_ids) / len(one.answer_ids) for one in answered]

def odd(answered):
    return [1 - share for share in even(answered)]

def same(answered):
    return [0.0 for _ in answered]

def trouble(answered):
    here = Path(__file__).parent
    calls = len(list(here.glob("call-*")))
    (here / f"call-{calls}").touch()
    if calls == int((here / "breaks").read_text()):
        raise RuntimeError("out of patience")
    return even(answered)
"""


@pytest.fixture
def rewards(tmp_path: Path) -> Path:
    path = tmp_path / "rewards.py"
    path.write_text(REWARDS, "utf-8")
    return path


@pytest.fixture(scope="session")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [{"prompt": f"What is {number} + {number % 7}?"} for number in range(40)]
    return write_lines(tmp_path_factory.mktemp("prompts") / "questions.jsonl", rows)


def asking(place: dict, questions: Path, rewards: Path, **more) -> PpoSettings:
    options = {
        **place,
        "data": (questions,),
        "name": "even",
        "reward": (f"python:{rewards}:even",),
        "rollouts": "transformers",
        "prompts": 64,
        "iterations": 6,
        "max_answer": 4,
        "epochs": 1,
        "minibatches": 4,
        "learning_rate": 1e-2,
        "value_learning_rate": 2e-3,
        "kl_coefficient": 0.001,
        "max_kl": 1000.0,
        "eval_every": 3,
        "save_every": 2,
        "rank": 4,
    }
    return PpoSettings.model_validate(options | more)


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text("utf-8").splitlines()]


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"estimator": "rloo", "prompts": 16, "answers": 4, "minibatches": None, "value_learning_rate": None},
    ],
)
def test_a_policy_learns_what_it_is_rewarded_for(place: dict, questions: Path, rewards: Path, more: dict):
    """The best version by held-out reward is in the store, with what was measured of it; all figures are on record."""
    trained = train_ppo(
        asking(place, questions, rewards, iterations=10, eval_every=5, held_out=0.5, **more), progress=False
    )
    gain = trained.metrics["gain_reward"]
    assert gain.low > 0
    adapter = AdapterStore(place["store"]).get("even")
    assert trained.adapter is not None
    assert adapter.reference == trained.adapter.reference
    assert adapter.kind == "ppo"
    assert adapter.manifest.metrics["best_reward"]["value"] == pytest.approx(
        trained.metrics["best_reward"].value
    )
    assert same_weights(adapter.path, trained.folder / "adapter")
    written = lines(trained.folder)
    iterations = [line for line in written if "reward" in line]
    assert [line["iteration"] for line in iterations] == list(range(1, 11))
    assert [line["iteration"] for line in written if "eval_reward" in line] == [0, 5, 10]
    for name in (
        "kl",
        "entropy",
        "length",
        "ended",
        "policy_loss",
        "seconds_rollout",
        f"reward/python:{rewards}:even",
    ):
        assert all(name in line for line in iterations), name
    assert ("value_loss" in iterations[0]) == (not more)
    assert (trained.folder / "curves.png").stat().st_size > 10_000
    assert (trained.folder / "samples.jsonl").exists()
    assert not (trained.folder / "policy").exists()


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


def test_what_is_not_better_is_not_published(place: dict, questions: Path, rewards: Path):
    """Gold that stays as it is: of equals the start is the best, and stays."""
    trained = train_ppo(
        asking(place, questions, rewards, gold=f"python:{rewards}:same", patience=2), progress=False
    )
    assert trained.adapter is None
    assert trained.metrics["best_iteration"] == 0
    assert "2 evaluations without a better version" in trained.metrics["stopped"]
    assert AdapterStore(place["store"]).names() == []
    assert json.loads((trained.folder / "result.json").read_text())["adapter"] is None


def test_rewards_that_rise_at_the_cost_of_gold_end_the_run(place: dict, questions: Path, rewards: Path):
    """The version before they did is the one that is published, if any is."""
    trained = train_ppo(
        asking(place, questions, rewards, gold=f"python:{rewards}:odd", iterations=30), progress=False
    )
    assert "over-optimisation" in trained.metrics["stopped"]
    assert trained.metrics["iterations"] < 30
    assert trained.metrics["gain_gold"].value >= 0
    last = [line for line in lines(trained.folder) if "eval_gold" in line][-1]
    assert last["eval_gold"] < trained.metrics["best_gold"].value


def test_a_run_ends_at_its_highest_kl(place: dict, questions: Path, rewards: Path):
    """And keeps the best version it had, which is measured on the way out."""
    trained = train_ppo(
        asking(
            place,
            questions,
            rewards,
            max_kl=3.0,
            kl_coefficient=0.0,
            iterations=40,
            eval_every=20,
            held_out=0.5,
        ),
        progress=False,
    )
    assert trained.metrics["iterations"] < 40
    assert "--max-kl" in trained.metrics["stopped"]
    assert trained.adapter is not None


def test_without_held_out_prompts_the_last_version_is_published(place: dict, questions: Path, rewards: Path):
    """Nothing says which was best."""
    trained = train_ppo(asking(place, questions, rewards, held_out=0.0, iterations=2), progress=False)
    assert trained.adapter is not None
    assert trained.metrics["best_iteration"] == 2


def test_weights_that_are_no_numbers_end_the_run_and_the_last_good_ones_stay(
    place: dict, questions: Path, rewards: Path
):
    """A learning rate out of all measure."""
    with pytest.raises(TrainError, match="no number"):
        train_ppo(
            asking(place, questions, rewards, learning_rate=1e30, warm_up=0.0, save_every=1), progress=False
        )
    for checkpoint in place["folder"].glob("checkpoint-*"):
        from safetensors.torch import load_file

        assert all(
            bool(weight.isfinite().all()) for weight in load_file(checkpoint / "weights.safetensors").values()
        )


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"reward": ("adapter:nobody",)}, "nobody"),
        ({"reward": ("nobody",)}, "nobody"),
        ({"reference": "nobody"}, "--reference nobody"),
        ({"reward": ("https://somebody@x/score",)}, r"--reward https://\.\.\.: a password"),
        ({"gold": "https://x/score?key=secret"}, r"--gold https://\.\.\.: .*MOTET_SCORER_KEY"),
        ({"held_out": 0.0, "patience": 2}, "--patience needs held-out prompts"),
        ({"prompts": 3}, "--minibatches 4: a process has no more than 3 answers"),
        ({"value_start": "reward"}, "--value-start"),
        ({"max_kl": 1.0, "evaluate": ("nobody",)}, "--evaluate nobody"),
    ],
)
def test_what_can_not_be_done_is_said_before_anything_is_asked(
    place: dict, questions: Path, rewards: Path, more: dict, said: str
):
    """Named, and no run is left behind that would be gone on with."""
    with pytest.raises(AlignmentError, match=said):
        train_ppo(asking(place, questions, rewards, **more), progress=False)
    assert not list(place["folder"].glob("metrics.jsonl*"))


def test_prompts_are_drawn_in_passes():
    """Each once a pass, in another order in each; the same for one who goes on at any iteration."""
    asked = [drawn(10, 4, iteration, seed=3) for iteration in range(5)]
    flat = [place for chosen in asked for place in chosen]
    assert sorted(flat[:10]) == sorted(flat[10:]) == list(range(10))
    assert flat[:10] != flat[10:]
    assert asked[3] == drawn(10, 4, 3, seed=3)
    assert drawn(3, 7, 0, seed=0)[:3] != drawn(3, 7, 0, seed=1)[:3] or drawn(3, 7, 1, seed=0) != drawn(
        3, 7, 1, seed=1
    )
    seeds = {
        seed_of(seed, iteration, place) for seed in range(5) for iteration in range(20) for place in range(50)
    }
    assert len(seeds) == 5000
    assert max(seeds) < 2**31


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


def test_a_start_away_from_the_reference_is_not_said_to_be_at_it(place: dict, questions: Path, rewards: Path):
    """What goes on from an adapter and stays close to the base has a KL nobody knows before the first answers."""
    train_ppo(asking(place, questions, rewards, iterations=1, held_out=0.0, prompts=8), progress=False)
    folder = place["folder"].with_name("on")
    more = {"start": "even", "name": "on", "reference": "base", "iterations": 1, "prompts": 8}
    train_ppo(asking({**place, "folder": folder}, questions, rewards, **more), progress=False)
    first, *_, last = [line for line in lines(folder) if "eval_reward" in line]
    assert "eval_kl" not in first
    assert "eval_kl" in last
