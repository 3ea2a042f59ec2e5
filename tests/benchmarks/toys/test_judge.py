"""PPO's judge and what is bundled, by a trainer that only pretends: learnt from what, measured by what, named where."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from itertools import islice

import pytest
from safetensors.torch import load_file
from tests.benchmarks.toys.reinforcing import HEAD, contents, judges, rows_of, run
from torch import equal

from motet_alignment.errors import AlignmentError
from motet_alignment.store import AdapterStore
from motet_benchmarks.gym import examples
from motet_benchmarks.toys import ppo
from motet_benchmarks.toys.adapted import Scorer
from motet_benchmarks.toys.adapters import BASE, NAMES, REWARD, SFT
from motet_benchmarks.toys.ppo import JUDGE, PPO
from motet_benchmarks.toys.ppo_measured import problems
from motet_benchmarks.toys.record import check, read
from motet_benchmarks.toys.settings import PpoRecipe


def test_each_seeds_judge_goes_on_from_its_own_reward_adapter(done):
    folder, work, trainer, alone, everything = done
    recipe = PpoRecipe()
    stores = AdapterStore(work / "seed-6" / "store"), AdapterStore(folder / "adapters")
    for settings, store, output in zip(judges(trainer), stores, (alone, everything), strict=True):
        seed, how = settings.seed, recipe.judge
        assert settings.kind() == "reward"
        assert settings.start == store.get(REWARD).reference
        assert (settings.learning_rate, settings.batch_tokens) == (how.rate, how.batch_tokens)
        home = work / f"seed-{seed}"
        assert settings.data == (home / f"judge-pairs-{seed}.jsonl", home / f"judge-own-{seed}.jsonl")
        pairs, own = map(rows_of, settings.data)
        assert len(pairs) == how.problems
        # Two of three of what is drawn, as told above.
        assert len(own) == pytest.approx(recipe.judge_drawn * 2 / 3, abs=1)
        assert f"seed {seed}: {len(own):,} of {recipe.judge_drawn:,} answers drawn from {SFT}@" in output
    assert len({store.get(REWARD).version for store in stores}) == 2


def test_what_was_drawn_is_judged_beside_the_right_answer_to_it(done):
    """Every mistake is a wrong answer to the problem it stands with, and no other seed's."""
    trainer = done[2]
    learnt = {}
    for settings in judges(trainer):
        seed = settings.seed
        asked = examples.problems(seed=ppo._JUDGED_FROM + 1000 + seed, worked=PpoRecipe().judge.worked)
        drawn = list(islice(asked, PpoRecipe().judge_drawn))
        wrong = [problem for place, problem in enumerate(drawn) if (place + seed) % 3]
        own = rows_of(settings.data[1])
        for problem, row in zip(wrong, own, strict=True):
            assert row["prompt"] == problem.messages()
            assert problem.grade(row["chosen"][0]["content"])
            assert not problem.grade(row["rejected"][0]["content"])
        learnt[seed] = [{row["prompt"][-1]["content"] for row in rows_of(path)} for path in settings.data]
        assert not learnt[seed][0] >= learnt[seed][1]
    for first, second in zip(learnt[5], learnt[6], strict=True):
        assert len(first & second) < len(first) / 2


def test_the_judge_is_measured_by_the_mistakes_of_sft_itself(done):
    """The judge here tells by the opposite sign, so what the one gets right is what the other gets wrong."""
    folder, work, _, _, _ = done
    plain, _ = problems(1)
    said = [
        problem.target if place % 3 == 0 else problem.mistaken(problem.mistakes[0])
        for place, problem in enumerate(plain)
    ]
    wrong = [(problem, text) for problem, text in zip(plain, said, strict=True) if not problem.grade(text)]
    scorer = Scorer(folder / "expert", AdapterStore(folder / "adapters").get(REWARD).path)
    better, worse = scorer([(problem, problem.target) for problem, _ in wrong]), scorer(wrong)
    above = sum(one > other for one, other in zip(better, worse, strict=True))
    first = read(folder / "toys.json").ppo.measured.seeds[0]
    assert (first.told_by_reward.right, first.told_by_reward.of) == (above, len(wrong))
    assert (first.told_by_judge.right, first.told_by_judge.of) == (len(wrong) - above, len(wrong))
    assert above != len(wrong) - above
    kept = json.loads((work / "seed-5" / "outcomes.json").read_text())["done"]
    rewards = scorer(list(zip(plain, said, strict=True)))
    assert kept["sft"]["scores"] == pytest.approx([-reward for reward in rewards], abs=1e-5)


def test_the_first_seeds_policy_and_judge_join_the_bundled_adapters(done, pair):
    folder, work, _, _, _ = done
    store = AdapterStore(folder / "adapters")
    assert store.names() == sorted([*NAMES, PPO, JUDGE])
    for name in NAMES:
        there = folder / "adapters" / name
        assert contents(there) == contents(pair[0] / "adapters" / name)
    policy, judge = store.get(PPO), store.get(JUDGE)
    for adapter, kind, start in ((policy, "ppo", SFT), (judge, "reward", REWARD)):
        store.verify(adapter)
        assert adapter.kind == kind
        assert adapter.manifest.base.name == BASE
        assert adapter.manifest.parents == (store.get(start).reference,)
        assert adapter.manifest.settings["from"] == store.get(start).reference
        assert adapter.manifest.settings["seed"] == 5
    assert [file.path for file in policy.manifest.data] == ["prompts-5.jsonl"]
    assert [file.path for file in judge.manifest.data] == ["judge-pairs-5.jsonl", "judge-own-5.jsonl"]
    # What judged the policy is what stands beside it, by that one's version here.
    assert judge.version != AdapterStore(work / "seed-5" / "store").get(JUDGE).version
    assert policy.manifest.settings["reward"] == [f"adapter:{judge.reference}"]
    assert policy.manifest.settings["reward_adapters"] == [judge.reference]
    heads = [load_file(store.get(name).path / "adapter_model.safetensors")[HEAD] for name in (JUDGE, REWARD)]
    assert equal(heads[0], -heads[1])
    for path in (folder / "adapters").rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644)
        if path.suffix == ".json":
            assert str(work.parent) not in path.read_text()
    assert {path.name for path in (folder / "adapters").iterdir()} == {*NAMES, PPO, JUDGE}


@pytest.mark.parametrize("name", [PPO, JUDGE])
def test_another_version_than_that_on_record_is_named(done, name):
    folder, _, _, _, _ = done
    record = read(folder / "toys.json")
    other = replace(record.ppo, versions={**record.ppo.versions, name: "0" * 12})
    with pytest.raises(ValueError, match=rf"{name}: version [0-9a-f]{{12}}, on record 000000000000"):
        check(replace(record, ppo=other), folder)


@pytest.mark.parametrize("name", [PPO, JUDGE])
def test_a_damaged_one_is_named(done, tmp_path, name):
    folder, _, _, _, _ = done
    copied = shutil.copytree(folder, tmp_path / "models")
    path = AdapterStore(copied / "adapters").get(name).path / "adapter_model.safetensors"
    held = path.read_bytes()
    path.write_bytes(held[:-1] + bytes([held[-1] ^ 1]))
    with pytest.raises(AlignmentError, match=name):
        check(read(folder / "toys.json"), copied)


def test_a_record_without_the_judge_is_refused(done, tmp_path):
    folder, _, _, _, _ = done
    told = json.loads((folder / "toys.json").read_text())
    del told["ppo"]["versions"][JUDGE]
    (tmp_path / "toys.json").write_text(json.dumps(told))
    with pytest.raises(ValueError, match=rf"ppo\.versions: must name {PPO} and {JUDGE}"):
        read(tmp_path / "toys.json")


def test_nothing_is_bundled_that_is_no_better_than_what_it_came_of(done):
    folder, work, _, _, _ = done
    held = work / "seed-5" / f"{PPO}.json"
    before, standing = held.read_text(), contents(folder / "adapters")
    told = json.loads(before)
    told["done"]["published"] = 0
    held.write_text(json.dumps(told))
    ran = run("--folder", folder, "--work", work)
    held.write_text(before)
    assert ran.exit_code == 2
    assert f"seed 5: no version of {PPO} was better than {SFT}@" in ran.output
    assert contents(folder / "adapters") == standing
