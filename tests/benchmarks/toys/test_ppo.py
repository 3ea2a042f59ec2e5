"""The bundled PPO adapter's recipe, with a trainer that only pretends: what is asked, kept, measured, published."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
from safetensors.torch import load_file, save_file
from torch import full_like
from typer.testing import CliRunner

from motet_alignment.store import AdapterStore, find_base, fingerprint
from motet_alignment.train.session import Trained
from motet_benchmarks.toys import answers, cli, ppo
from motet_benchmarks.toys.adapters import BASE, NAMES, REWARD, SFT
from motet_benchmarks.toys.card import card
from motet_benchmarks.toys.ppo import BY_REWARD, PPO
from motet_benchmarks.toys.record import check, read, write
from motet_benchmarks.toys.report import reinforce_seed
from motet_benchmarks.toys.settings import PpoRecipe

#: What all weights of a pretended adapter are, so that it can be told.
MARKS = {BY_REWARD: 0.5, PPO: 0.25}


class Trainer:
    """Nudges the adapter that it is to start from, and tells of iterations that never were."""

    def __init__(self) -> None:
        self.asked: list[object] = []

    def __call__(self, settings):
        self.asked.append(settings)
        store = AdapterStore(settings.store)
        start = store.get(settings.start)
        settings.folder.mkdir()
        weights = load_file(start.path / "adapter_model.safetensors")
        moved = {name: full_like(weight, MARKS[settings.name]) for name, weight in weights.items()}
        home = settings.folder / "adapter"
        shutil.copytree(start.path, home, ignore=shutil.ignore_patterns("motet.json"))
        save_file(moved, home / "adapter_model.safetensors")
        lines = []
        for number in range(1, settings.iterations + 1):
            lines.append(
                {
                    "iteration": number,
                    "reward": 0.1 * number,
                    "kl": 0.2 * number,
                    "entropy": 1.0,
                    "length": 9.0,
                }
            )
            if number % 5 == 0:
                figures = {
                    f"{name}{end}": 0.02 * number + by
                    for name in ("eval_reward", "eval_gold")
                    for end, by in (("", 0), ("_low", -0.01), ("_high", 0.01))
                }
                lines.append({"iteration": number, **figures})
        (settings.folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        adapter = store.publish(
            home,
            name=settings.name,
            kind="ppo",
            base=fingerprint(settings.model),
            base_folder=find_base(settings.model),
            parents=(start.reference,),
            data=[{"path": str(settings.data[0]), "sha256": "0" * 64, "examples": 24}],
            settings={"from": settings.start, "seed": settings.seed, "reward": list(settings.reward)},
        )
        return Trained(
            adapter, settings.folder, {"best_iteration": 15, "seconds": 90.0, "stopped": "chance: once"}
        )


@pytest.fixture(scope="module")
def done(pair, tmp_path_factory):
    """The tiny pair after `motet models ppo --seed 6`, then `motet models ppo`: folder, work, trainer, outputs."""
    folder = shutil.copytree(pair[0], tmp_path_factory.mktemp("reinforced") / "models")
    work = folder.parent / "work"
    trainer = Trainer()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ppo, "train", trainer)
        patch.setattr(answers, "answers", spoken)
        alone = run("--seed", 6, "--folder", folder, "--work", work)
        assert alone.exit_code == 0, alone.output
        assert not (folder / "adapters" / PPO).exists()
        assert len(trainer.asked) == 2
        everything = run("--folder", folder, "--work", work)
        assert everything.exit_code == 0, everything.output
    return folder, work, trainer, alone.output, everything.output


def spoken(problems, tokenizer, model, **more):
    """Every third answer of SFT is right, every other one of PPO against the reward adapter, all against the grader."""
    weight = next(value for name, value in model.named_parameters() if "lora_A" in name)
    every = {0.5: 2, 0.25: 1}.get(float(weight.mean()), 3)
    return [
        problem.target if place % every == 0 else problem.mistaken(problem.mistakes[0])
        for place, problem in enumerate(problems)
    ]


def run(*options: object):
    return CliRunner().invoke(cli.app, ["ppo", "--count", "1", *map(str, options)])


def test_each_seed_is_trained_twice_from_its_own_adapters(done):
    folder, work, trainer, alone, everything = done
    assert [settings.seed for settings in trainer.asked] == [6, 6, 5, 5]
    assert [settings.name for settings in trainer.asked] == [BY_REWARD, PPO] * 2
    bundled = AdapterStore(folder / "adapters")
    other = AdapterStore(work / "seed-6" / "store")
    for settings, store in zip(trainer.asked, (other, other, bundled, bundled), strict=True):
        assert settings.start == store.get(SFT).reference
        judge = f"adapter:{store.get(REWARD).reference}" if settings.name == BY_REWARD else "gym"
        assert settings.reward == (judge,)
        assert settings.gold == "gym"
    assert bundled.get(SFT).version != other.get(SFT).version
    assert "seed 6: SFT 34" in alone
    assert "seed 5: SFT 34" in everything


def test_prompts_are_training_problems_that_nothing_else_draws(done):
    _, work, trainer, _, _ = done
    (first,), (second,) = (
        {settings.data for settings in trainer.asked[place : place + 2]} for place in (0, 2)
    )
    assert first != second
    rows = [json.loads(line) for line in first[0].read_text().splitlines()]
    assert len(rows) == PpoRecipe().problems
    told = {row["messages"][-1]["content"] for row in rows}
    seen = [
        json.loads(line) for line in (work / "seed-6" / "demonstrations-6.jsonl").read_text().splitlines()
    ]
    assert not told >= {row["messages"][-2]["content"] for row in seen}
    assert {row["messages"][-1]["role"] for row in rows} == {"user"}
    worked = sum(row["messages"][-1]["content"].endswith("Show your steps.") for row in rows)
    assert 0 < worked < len(rows) / 2


def test_the_first_seeds_adapter_joins_the_bundled_ones(done, pair):
    folder, work, _, _, _ = done
    store = AdapterStore(folder / "adapters")
    assert store.names() == sorted([*NAMES, PPO])
    for name in NAMES:
        there = folder / "adapters" / name
        assert _contents(there) == _contents(pair[0] / "adapters" / name)
    adapter = store.get(PPO)
    store.verify(adapter)
    assert adapter.kind == "ppo"
    assert adapter.manifest.base.name == BASE
    assert adapter.manifest.parents == (store.get(SFT).reference,)
    assert adapter.manifest.settings["from"] == store.get(SFT).reference
    assert [file.path for file in adapter.manifest.data] == ["prompts-5.jsonl"]
    for path in (folder / "adapters").rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644)
        if path.suffix == ".json":
            assert str(work.parent) not in path.read_text()
    assert {path.name for path in (folder / "adapters").iterdir()} == {*NAMES, PPO}


def _contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_figures_are_those_of_answers_and_runs(done):
    folder, _, _, _, _ = done
    record = read(folder / "toys.json")
    check(record, folder)
    assert record.ppo is not None
    assert record.versions[PPO] == record.ppo.version == AdapterStore(folder / "adapters").get(PPO).version
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
        assert one.by_reward.kl_at_the_end == pytest.approx(0.2 * 27.5)
        assert one.by_reward.iterations == 28
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
    assert f"`{PPO}` (version `{record.ppo.version}`)" in text
    assert "| PPO against the grader minus SFT | +65.9 (" in text
    assert "| reward | 6 | 28 | 15 | 3.20 | 5.50 |" in text
    assert "{" not in text
    assert str(folder / "ppo-curves.png") in everything


def test_the_card_says_so_where_ppo_learnt_against_a_former_reward_adapter(done):
    record = read(done[0] / "toys.json")
    assert record.ppo.reward == record.adapters.versions[REWARD]
    assert "former" not in card(record, record.measured)
    other = replace(record, ppo=replace(record.ppo, reward="0" * 12))
    assert f"former `{REWARD}`, version `000000000000`" in card(other, other.measured)


def test_curves_are_kept_as_numbers_and_as_a_picture(done):
    folder, _, _, _, _ = done
    facts = json.loads((folder / "ppo-curves.json").read_text())
    assert facts["kl_target"] == PpoRecipe().kl_target
    assert [(run["rewarded_by"], run["seed"]) for run in facts["runs"]] == [
        ("the reward adapter", 5),
        ("the reward adapter", 6),
        ("the grader", 5),
        ("the grader", 6),
    ]
    first = facts["runs"][0]
    assert len(first["iterations"]) == len(first["kl"]) == 28
    assert first["evaluated"] == list(range(5, 29, 5))
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
    assert PPO not in found.versions
    assert "PPO" not in card(found, found.measured)


def test_another_version_than_that_on_record_is_named(done):
    folder, _, _, _, _ = done
    record = read(folder / "toys.json")
    with pytest.raises(ValueError, match=rf"{PPO}: version [0-9a-f]{{12}}, on record 000000000000"):
        check(replace(record, ppo=replace(record.ppo, version="0" * 12)), folder)


def test_work_of_another_recipe_is_not_gone_on_with(done, tmp_path, monkeypatch):
    folder, work, _, _, _ = done
    other = shutil.copytree(work, tmp_path / "work")
    held = other / "seed-5" / f"{PPO}.json"
    told = json.loads(held.read_text())
    told["basis"]["recipe"]["rate"] = 1.0
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


def test_nothing_is_bundled_that_is_no_better_than_what_it_came_of(done):
    folder, work, _, _, _ = done
    held = work / "seed-5" / f"{PPO}.json"
    before, standing = held.read_text(), _contents(folder / "adapters")
    told = json.loads(before)
    told["done"]["published"] = 0
    held.write_text(json.dumps(told))
    ran = run("--folder", folder, "--work", work)
    held.write_text(before)
    assert ran.exit_code == 2
    assert f"seed 5: no version of {PPO} was better than {SFT}@" in ran.output
    assert _contents(folder / "adapters") == standing


def test_the_trainer_understands_what_is_asked_of_it(pair, tmp_path, monkeypatch):
    """The trainer itself, on a model that gets nothing right: what it starts from is what comes of it."""
    folder, record, _ = pair
    monkeypatch.setattr(answers, "answers", spoken)
    recipe = PpoRecipe(
        problems=60,
        iterations=2,
        prompts=8,
        epochs=1,
        minibatches=1,
        value_warm_up=1,
        max_answer=8,
        held_out_prompts=3,
        eval_every=1,
        rollouts="transformers",
    )
    run, found = reinforce_seed(record, recipe, 5, folder, tmp_path, count=1, say=print)
    for course in (run.by_reward, run.by_grader):
        assert course.published == 0
        assert course.reference == AdapterStore(folder / "adapters").get(SFT).reference
        assert course.minutes > 0
        assert course.curve.iterations == (1, 2)
        assert course.curve.evaluated == (0, 1, 2)
        assert course.curve.kl_after(0) == pytest.approx(0, abs=1e-5)
        assert all(figure.value == 0 for figure in course.curve.held_out_right)
    assert run.by_reward.curve.held_out_reward[0].value != 0
    assert run.by_grader.curve.held_out_reward[0].value == 0
    assert found.by_grader == found.sft
