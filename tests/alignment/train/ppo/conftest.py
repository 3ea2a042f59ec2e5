"""A reward adapter of the tiny base, and trainings of it that are rewarded for even tokens."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.alignment.train.conftest import write_lines

from motet_alignment.store import Adapter
from motet_alignment.train import PpoSettings, RewardSettings, train

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


@pytest.fixture(scope="session")
def judge(tmp_path_factory: pytest.TempPathFactory, tiny: Path, pairs: Path) -> Adapter:
    """A reward adapter."""
    home = tmp_path_factory.mktemp("judge")
    told = RewardSettings(
        model=str(tiny),
        data=(pairs,),
        name="judge",
        rank=4,
        learning_rate=5e-3,
        epochs=1,
        held_out=0.0,
        precision="fp32",
        device="cpu",
        store=home / "store",
        folder=home / "run",
    )
    trained = train(told, progress=False).adapter
    assert trained is not None
    return trained


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
