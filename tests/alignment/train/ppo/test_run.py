"""Whole PPO trainings of a tiny model, answers by transformers: better, stopped, and refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.alignment.train.conftest import same_weights
from tests.alignment.train.ppo.conftest import asking, lines

from motet_alignment.errors import AlignmentError, TrainError
from motet_alignment.store import AdapterStore
from motet_alignment.train import train_ppo
from motet_alignment.train.ppo.rounds import drawn, seed_of


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


def test_a_start_away_from_the_reference_is_not_said_to_be_at_it(place: dict, questions: Path, rewards: Path):
    """What goes on from an adapter and stays close to the base has a KL nobody knows before the first answers."""
    train_ppo(asking(place, questions, rewards, iterations=1, held_out=0.0, prompts=8), progress=False)
    folder = place["folder"].with_name("on")
    more = {"start": "even", "name": "on", "reference": "base", "iterations": 1, "prompts": 8}
    train_ppo(asking({**place, "folder": folder}, questions, rewards, **more), progress=False)
    first, *_, last = [line for line in lines(folder) if "eval_reward" in line]
    assert "eval_kl" not in first
    assert "eval_kl" in last
