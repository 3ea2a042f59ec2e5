"""What the bundled adapters promise to everybody who loads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from motet_alignment.store import AdapterStore, fingerprint
from motet_benchmarks import gym
from motet_benchmarks.toys.adapted import Scorer
from motet_benchmarks.toys.adapters import DPO, NAMES, REWARD, SFT, own_mistakes
from motet_benchmarks.toys.answers import answers
from motet_benchmarks.toys.cli import RESULTS
from motet_benchmarks.toys.ppo import JUDGE, PPO
from motet_benchmarks.toys.record import read
from motet_models import ADAPTERS, EXPERT

STORE = AdapterStore(ADAPTERS)
RECORD = read(Path(__file__).parents[2] / RESULTS)
KINDS = {SFT: "sft", DPO: "dpo", REWARD: "reward", PPO: "ppo", JUDGE: "reward"}
BUNDLED = (*NAMES, *([] if RECORD.ppo is None else [PPO, JUDGE]))
needs_ppo = pytest.mark.skipif(
    RECORD.ppo is None, reason=f"{PPO} and {JUDGE} have not been trained yet: `motet models ppo` does it"
)


def right(model) -> float:
    """Part of a few test problems; fewer than the card's, so bounds are wide."""
    from transformers import AutoTokenizer

    problems = gym.instances("test", count=4, seed=1)
    said = answers(problems, AutoTokenizer.from_pretrained(EXPERT), model)
    return sum(problem.grade(text) for problem, text in zip(problems, said, strict=True)) / len(problems)


@pytest.fixture(scope="module")
def sft_right():
    return right(adapted(SFT))


def adapted(name: str):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    expert = AutoModelForCausalLM.from_pretrained(EXPERT)
    return PeftModel.from_pretrained(expert, str(STORE.get(name).path)).eval()


@pytest.mark.parametrize("name", BUNDLED)
def test_each_is_whole_and_the_experts(name: str):
    adapter = STORE.get(name)
    STORE.verify(adapter)
    assert adapter.kind == KINDS[name]
    assert adapter.version == RECORD.versions[name]
    assert fingerprint(str(EXPERT)).differences(adapter.manifest.base) == ()
    assert STORE.damaged(name) == {}
    assert [one.version for one in STORE.versions(name)] == [adapter.version]


def test_they_stay_small_and_hold_nothing_else():
    assert STORE.names() == sorted(BUNDLED)
    assert {path.name for path in ADAPTERS.iterdir()} == set(BUNDLED)
    assert sum(path.stat().st_size for path in ADAPTERS.rglob("*") if path.is_file()) < 10e6


def test_reading_them_writes_nothing():
    """They lie in site-packages, where a user can't write."""
    before = sorted((path, path.stat().st_mtime_ns) for path in ADAPTERS.rglob("*"))
    for name in STORE.names():
        STORE.verify(STORE.get(f"{name}@{STORE.current(name)}"))
        assert len(STORE.history(name)) == 1
    assert sorted((path, path.stat().st_mtime_ns) for path in ADAPTERS.rglob("*")) == before


def test_sft_beats_the_expert_and_dpo_does_not_fall_behind(sft_right):
    """The card has the margins; from a hundred and fifty problems only the large one can be told."""
    from transformers import AutoModelForCausalLM

    expert = right(AutoModelForCausalLM.from_pretrained(EXPERT).eval())
    sft, dpo = sft_right, right(adapted(DPO))
    assert sft > expert + 0.05
    assert dpo > expert + 0.1
    assert dpo > sft - 0.05


@needs_ppo
def test_ppo_and_its_judge_say_what_they_came_of():
    policy, judge = STORE.get(PPO), STORE.get(JUDGE)
    assert policy.manifest.parents == (STORE.get(SFT).reference,)
    assert policy.manifest.settings["reward"] == [f"adapter:{judge.reference}"]
    assert policy.manifest.settings["reward_adapters"] == [judge.reference]
    assert judge.manifest.parents == (STORE.get(REWARD).reference,)
    assert [file.path for file in judge.manifest.data] == ["judge-pairs-0.jsonl", "judge-own-0.jsonl"]
    assert judge.manifest.data[0].examples == RECORD.ppo.recipe.judge.problems
    assert policy.manifest.settings["seed"] == judge.manifest.settings["seed"] == 0


@needs_ppo
def test_ppo_does_not_fall_behind_sft(sft_right):
    """The card has what it wins, too little to be told from so few problems."""
    assert right(adapted(PPO)) > sft_right - 0.03


def test_the_reward_adapter_puts_right_above_mistaken():
    scorer = Scorer(EXPERT, STORE.get(REWARD).path)
    problems = gym.instances("test", count=4, seed=1)
    best = scorer([(problem, problem.answer) for problem in problems])
    worse = scorer([(problem, problem.mistakes[0].text) for problem in problems])
    above = sum(one > other for one, other in zip(best, worse, strict=True))
    assert above / len(problems) >= 0.8


@needs_ppo
def test_the_judge_puts_right_above_what_sft_itself_gets_wrong():
    """Drawn from SFT to problems that nothing was trained on: harder to tell than the gym's mistakes.

    The card has how much better it does that than the reward adapter; from so few only that it doesn't fall behind.
    """
    problems = gym.instances("test", count=12, seed=2)
    asked = {str(problem.messages()): problem for problem in problems}
    rows = own_mistakes(EXPERT, STORE.get(SFT).path, problems, seed=0)
    wrong = [(asked[str(row["prompt"])], row["rejected"][0]["content"]) for row in rows]
    assert len(wrong) >= 100
    told = {}
    for name in (JUDGE, REWARD):
        scorer = Scorer(EXPERT, STORE.get(name).path)
        best, worse = scorer([(problem, problem.target) for problem, _ in wrong]), scorer(wrong)
        told[name] = sum(one > other for one, other in zip(best, worse, strict=True)) / len(wrong)
    assert told[JUDGE] >= 0.6
    assert told[JUDGE] > told[REWARD] - 0.02
