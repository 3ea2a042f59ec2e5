"""The best version, why a run ends, and what is said of it then: from invented evaluations."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from motet_alignment.train.estimates import Estimate
from motet_alignment.train.ppo.settings import PpoSettings
from motet_alignment.train.ppo.stopping import (
    Evaluation,
    best,
    ending,
    gain,
    outcome,
    too_far,
    worth,
)
from motet_alignment.train.report import report
from motet_alignment.train.session import Trained


def evaluated(
    iteration: int, reward: float, right: int | None = None, *, n: int = 40, kl: float = 1.0
) -> Evaluation:
    """Rewards around `reward`; of `n` answers the first `right` are."""
    rewards = tuple(reward + (-1) ** place * 0.5 for place in range(n))
    gold = None if right is None else tuple(float(place < right) for place in range(n))
    return Evaluation(iteration, rewards, gold, kl, 12.5, 0.95)


def asked(**more: object) -> PpoSettings:
    return PpoSettings.model_validate({"data": (Path("x.jsonl"),), "reward": ("gym",), **more})


def test_the_best_is_the_first_of_most_gold_and_of_most_reward_without():
    assert best([evaluated(0, 1), evaluated(5, 3), evaluated(10, 3), evaluated(15, 2)]).iteration == 5
    history = [evaluated(0, 1, 10), evaluated(5, 2, 20), evaluated(10, 3, 15), evaluated(15, 4, 20)]
    assert best(history).iteration == 5
    assert worth(history[2]) == 15 / 40


def test_evaluations_survive_json():
    for evaluation in (evaluated(5, 0.1, 20), evaluated(5, 0.1)):
        assert Evaluation.from_json(json.loads(json.dumps(evaluation.as_json()))) == evaluation


def test_figures_have_intervals_where_prompts_differ():
    figures = evaluated(5, 2.0, 10).figures()
    width = 1.96 * 0.5 * (40 / 39) ** 0.5 / 40**0.5
    assert figures["reward"].model_dump() == pytest.approx(
        {"value": 2.0, "low": 2 - width, "high": 2 + width, "n": 40}
    )
    assert figures["gold"].value == 0.25
    assert {key: figures[key] for key in ("kl", "length", "ended")} == {
        "kl": 1.0,
        "length": 12.5,
        "ended": 0.95,
    }
    assert "gold" not in evaluated(5, 2.0).figures()


def test_a_gain_is_measured_prompt_by_prompt():
    """Prompts differ by far more than the gain, which is the same for nearly all of them."""
    before = [float(place) for place in range(20)]
    sure = gain(before, [value + 0.5 for value in before])
    assert (sure.value, sure.low, sure.high) == (0.5, 0.5, 0.5)
    with pytest.raises(ValueError, match="zip"):
        gain(before, before[1:])


def test_kl_ends_a_run_above_its_bound():
    targeted, bounded = asked(kl_target=2.0), asked(max_kl=3.0)
    assert too_far(8.0, targeted) is None
    said = too_far(8.1, targeted)
    assert said is not None
    assert "8.10 nats" in said
    assert "above 8 (four times --kl-target)" in said
    assert too_far(1e9, asked()) is None
    assert "above 3 (--max-kl)" in str(ending([evaluated(0, 1), evaluated(5, 2, kl=3.5)], bounded))


def test_reward_that_rises_at_the_cost_of_gold_ends_a_run():
    peak = [evaluated(0, 1, 10), evaluated(5, 2, 30)]
    assert ending(peak, asked()) is None
    said = ending([*peak, evaluated(10, 3, 18)], asked())
    assert said == (
        "over-optimisation: since iteration 5 the reward rose from 2.000 to 3.000, and gold fell from 0.750 to 0.450"
    )
    # Gold falls with the reward: the run is worse, but not for the reward's sake.
    assert ending([*peak, evaluated(10, 1.5, 18)], asked()) is None
    # A few answers fewer may be chance.
    assert ending([*peak, evaluated(10, 3, 28)], asked()) is None
    # Without gold nobody can say.
    assert ending([evaluated(0, 1), evaluated(5, 3), evaluated(10, 2)], asked()) is None


def test_the_more_evaluations_the_peak_was_picked_from_the_more_it_takes():
    """Five answers of forty fewer: significant against one other version, not against the luckiest of ten."""
    peak, fallen = evaluated(5, 2, 30), evaluated(60, 3, 25)
    assert "over-optimisation" in str(ending([peak, fallen], asked()))
    before = [evaluated(10 + place, 2, 29) for place in range(10)]
    assert ending([peak, *before, fallen], asked()) is None


def test_patience_counts_evaluations_since_the_best():
    history = [evaluated(0, 1), evaluated(5, 3), evaluated(10, 2), evaluated(15, 2.5)]
    assert ending(history[:3], asked(patience=2)) is None
    assert ending(history, asked(patience=2)) == "2 evaluations without a better version than iteration 5's"
    assert (
        ending(history[:3], asked(patience=1)) == "1 evaluation without a better version than iteration 5's"
    )
    assert ending(history, asked()) is None


def test_the_outcome_compares_the_best_version_with_the_start():
    history = [evaluated(0, 1, 10, kl=0.0), evaluated(5, 2, 20, kl=1.5), evaluated(10, 3, 15, kl=9.0)]
    told = outcome(history, iterations=12, seconds=90.04, stopped="it was late")
    assert (told["start_reward"].value, told["best_reward"].value) == (1.0, 2.0)
    assert told["gain_reward"] == Estimate(value=1.0, low=1.0, high=1.0, n=40)  # the same for every prompt
    assert (told["start_gold"].value, told["best_gold"].value, told["gain_gold"].value) == (0.25, 0.5, 0.25)
    assert told["gain_gold"].low == pytest.approx(0.25 - 1.96 * (0.1875 / 39) ** 0.5)
    assert {key: told[key] for key in ("best_iteration", "iterations", "kl", "seconds", "stopped")} == {
        "best_iteration": 5,
        "iterations": 12,
        "kl": 1.5,
        "seconds": 90.0,
        "stopped": "it was late",
    }
    assert "start_gold" not in outcome([evaluated(0, 1)], iterations=1, seconds=1.0, stopped=None)


def test_the_end_says_how_it_went_and_what_to_type_next(tmp_path: Path):
    settings = asked(name="adder", publish=False, model="org/base")
    history = [evaluated(0, 1, 10), evaluated(5, 2, 20), evaluated(10, 3, 5)]
    metrics = outcome(history, iterations=10, seconds=90.0, stopped="it was late")
    said = report(settings, Trained(None, tmp_path, metrics))
    assert f"adapter   not published, in {tmp_path / 'adapter'}\n" in said
    assert "best      iteration 5 of 10, 1.00 nats an answer from the reference\n" in said
    assert "ended     it was late, after 1.5 min\n" in said
    assert "start gold              0.2500 (0.1141 to 0.3859, n = 40)\n" in said
    assert "gain gold               0.2500 " in said
    assert f"plot      {tmp_path / 'curves.png'}; lines in {tmp_path / 'metrics.jsonl'}\n" in said
    assert f"motet adapters add {tmp_path / 'adapter'} --name adder --kind ppo --base org/base" in said


def test_the_end_of_a_run_that_found_nothing_better(tmp_path: Path):
    metrics = outcome([evaluated(0, 2), evaluated(5, 1)], iterations=5, seconds=9.0, stopped=None)
    said = report(asked(), Trained(None, tmp_path, metrics))
    assert said.startswith("adapter   not published: no version was better than the start\n")
    assert "best      iteration 0 of 5" in said
    assert "ended     all iterations are made, after 9 s\n" in said
    assert "adapters add" not in said
    assert "--kl-coefficient" in said


def test_the_end_of_a_run_that_nothing_was_held_out_from(tmp_path: Path):
    metrics = {
        "iterations": 5,
        "best_iteration": 5,
        "kl": 2.0,
        "seconds": 9.0,
        "stopped": "all iterations are made",
    }
    said = report(asked(publish=False), Trained(None, tmp_path, metrics))
    assert "last      iteration 5 of 5, 2.00 nats" in said
    assert "flatters" not in said
