"""The bundled PPO adapter's recipe, with a trainer that only pretends: what is asked, kept, measured."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tests.benchmarks.toys.reinforcing import policies, rows_of, run, spoken

from motet_alignment.store import AdapterStore
from motet_benchmarks.toys import answers
from motet_benchmarks.toys.adapters import NAMES, REWARD, SFT
from motet_benchmarks.toys.adapters_card import percent
from motet_benchmarks.toys.card import card
from motet_benchmarks.toys.ppo import GRADER, JUDGE, PPO
from motet_benchmarks.toys.record import check, read, write
from motet_benchmarks.toys.report import reinforce_seed
from motet_benchmarks.toys.settings import Adapting, PpoRecipe


def test_each_seeds_policy_is_trained_twice_from_its_own_adapters(done):
    folder, work, trainer, alone, everything = done
    assert [settings.seed for settings in trainer.asked] == [6, 6, 6, 5, 5, 5]
    assert [settings.name for settings in trainer.asked] == [JUDGE, PPO, GRADER] * 2
    bundled = AdapterStore(folder / "adapters")
    for settings in policies(trainer):
        own = AdapterStore(work / f"seed-{settings.seed}" / "store")
        assert settings.store == own.root
        start = own.get(SFT) if settings.seed == 6 else bundled.get(SFT)
        assert settings.start == start.reference
        judge = f"adapter:{own.get(JUDGE).reference}" if settings.name == PPO else "gym"
        assert settings.reward == (judge,)
        assert settings.gold == "gym"
    assert bundled.get(SFT).version != AdapterStore(work / "seed-6" / "store").get(SFT).version
    assert "seed 6: SFT 34" in alone
    assert "seed 5: SFT 34" in everything


def test_prompts_are_training_problems_that_nothing_else_draws(done):
    _, work, trainer, _, _ = done
    asked = policies(trainer)
    (first,), (second,) = ({settings.data for settings in asked[place : place + 2]} for place in (0, 2))
    assert first != second
    rows = rows_of(first[0])
    assert len(rows) == PpoRecipe().problems
    told = {row["messages"][-1]["content"] for row in rows}
    seen = rows_of(work / "seed-6" / "demonstrations-6.jsonl")
    assert not told >= {row["messages"][-2]["content"] for row in seen}
    assert {row["messages"][-1]["role"] for row in rows} == {"user"}
    worked = sum(row["messages"][-1]["content"].endswith("Show your steps.") for row in rows)
    assert 0 < worked < len(rows) / 2


def test_figures_are_those_of_answers_and_runs(done):
    folder, _, _, _, _ = done
    record = read(folder / "toys.json")
    check(record, folder)
    assert record.ppo is not None
    store = AdapterStore(folder / "adapters")
    assert record.ppo.versions == {name: store.get(name).version for name in (PPO, JUDGE)}
    assert record.versions == {**record.adapters.versions, **record.ppo.versions}
    measured = record.ppo.measured
    count = len(measured.families)
    assert [one.seed for one in measured.seeds] == [5, 6]
    for one in measured.seeds:
        assert one.sft.right == -(-count // 3)
        assert one.by_reward.plain.right == -(-count // 2)
        assert one.by_grader.plain.right == one.by_grader.plain.of == count
        assert one.by_reward.worked.of == one.sft_worked.of < count
        # The best version is the fifteenth's, and the sixteenth's answers are its own.
        assert one.by_reward.published == 15
        assert one.by_reward.kl == pytest.approx(0.2 * 16)
        assert one.by_reward.kl_at_the_end == pytest.approx(0.2 * 31)
        assert one.by_reward.iterations == PpoRecipe().iterations == 32
        assert one.by_reward.minutes == 1.5
    assert measured.grader_gain.plain.value == pytest.approx(1 - measured.seeds[0].sft.value)
    assert measured.grader_gain.plain.losses == 0
    assert measured.further.plain.value == pytest.approx(
        measured.grader_gain.plain.value - measured.reward_gain.plain.value
    )
    assert measured.reward_gain.plain.low < measured.reward_gain.plain.value < measured.reward_gain.plain.high


def test_the_card_tells_of_it(done):
    folder, _, _, _, everything = done
    record = read(folder / "toys.json")
    text = (folder / "README.md").read_text()
    assert text == card(record, record.measured)
    for name in (PPO, JUDGE):
        assert f"`{name}` (version `{record.ppo.versions[name]}`)" in text
    for one in record.ppo.measured.seeds:
        assert percent(one.told_by_reward) in text
        assert percent(one.told_by_judge) in text
    assert "| PPO against the grader minus SFT | +65.9 (" in text
    assert "| judge | 6 | 32 | 15 | 3.20 | 6.20 |" in text
    assert "{" not in text
    assert str(folder / "ppo-curves.png") in everything


def test_curves_are_kept_as_numbers_and_as_a_picture(done):
    folder, _, _, _, _ = done
    facts = json.loads((folder / "ppo-curves.json").read_text())
    assert facts["kl_target"] == PpoRecipe().kl_target
    assert [(run["rewarded_by"], run["seed"]) for run in facts["runs"]] == [
        ("the judge", 5),
        ("the judge", 6),
        ("the grader", 5),
        ("the grader", 6),
    ]
    first = facts["runs"][0]
    assert len(first["iterations"]) == len(first["kl"]) == PpoRecipe().iterations
    assert first["evaluated"] == list(range(5, PpoRecipe().iterations + 1, 5))
    assert first["held_out_right"][0] == pytest.approx({"value": 0.1, "low": 0.09, "high": 0.11})
    assert (folder / "ppo-curves.png").read_bytes().startswith(b"\x89PNG")


def test_the_record_without_it_stays_readable_and_counts_as_without(pair, tmp_path):
    folder, record, _ = pair
    told = json.loads((folder / "toys.json").read_text())
    del told["ppo"]
    (tmp_path / "toys.json").write_text(json.dumps(told))
    found = read(tmp_path / "toys.json")
    assert found == record
    assert found.ppo is None
    assert found.versions.keys() == set(NAMES)
    assert "PPO" not in card(found, found.measured)


@pytest.mark.parametrize(("name", "part"), [(PPO, "recipe"), (JUDGE, "judge")])
def test_work_of_another_recipe_is_not_gone_on_with(done, tmp_path, name, part):
    folder, work, _, _, _ = done
    other = shutil.copytree(work, tmp_path / "work")
    held = other / "seed-5" / f"{name}.json"
    told = json.loads(held.read_text())
    told["basis"][part]["rate"] = 1.0
    held.write_text(json.dumps(told))
    ran = run("--seed", 5, "--folder", folder, "--work", other)
    assert ran.exit_code == 2
    assert f"{held} is of another recipe" in ran.output
    held.write_text("{")
    ran = run("--seed", 5, "--folder", folder, "--work", other)
    assert ran.exit_code == 2
    assert f"{held} can't be gone on with" in ran.output


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--seed", 6], "--seed: needs --work"),
        (["--seed", 0, "--work", "work"], "--seed: 0: the adapters' seeds are 5, 6"),
    ],
)
def test_seeds_that_lead_nowhere_are_refused(done, options, complaint):
    ran = run("--folder", done[0], *options)
    assert ran.exit_code == 2
    assert complaint.split(": ", 1)[1] in " ".join(ran.output.replace("│", " ").split())


def test_a_pair_without_adapters_is_refused(pair, tmp_path):
    folder, record, _ = pair
    write(replace(record, adapters=None), tmp_path / "toys.json")
    ran = run("--folder", folder, "--results", tmp_path / "toys.json")
    assert ran.exit_code == 2
    assert "has no adapters yet" in " ".join(ran.output.replace("│", " ").split())


def test_the_trainer_understands_what_is_asked_of_it(pair, tmp_path, monkeypatch):
    """The trainer itself, on a model that gets nothing right: what it starts from is what comes of it."""
    folder, record, _ = pair
    monkeypatch.setattr(answers, "answers", spoken)
    recipe = PpoRecipe(
        judge=Adapting(problems=24, rate=1e-3, worked=0.5),
        judge_drawn=12,
        problems=60,
        iterations=2,
        prompts=8,
        epochs=1,
        minibatches=1,
        max_answer=8,
        held_out_prompts=3,
        eval_every=1,
        rollouts="transformers",
    )
    run, found = reinforce_seed(record, recipe, 5, folder, tmp_path, count=1, say=print)
    bundled = AdapterStore(folder / "adapters")
    assert run.judge.kind == "reward"
    assert run.judge.manifest.parents == (bundled.get(REWARD).reference,)
    assert [(Path(file.path).name, file.examples) for file in run.judge.manifest.data] == [
        ("judge-pairs-5.jsonl", 24),
        ("judge-own-5.jsonl", 8),
    ]
    assert run.judge.manifest.rank == bundled.get(REWARD).manifest.rank
    for course in (run.by_reward, run.by_grader):
        assert course.published == 0
        assert course.reference == bundled.get(SFT).reference
        assert course.minutes > 0
        assert course.curve.iterations == (1, 2)
        assert course.curve.evaluated == (0, 1, 2)
        assert course.curve.kl_after(0) == pytest.approx(0, abs=1e-5)
        assert all(figure.value == 0 for figure in course.curve.held_out_right)
    assert run.by_reward.curve.held_out_reward[0].value != 0
    assert run.by_grader.curve.held_out_reward[0].value == 0
    assert found.by_grader == found.sft
