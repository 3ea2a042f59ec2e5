"""What the bundled adapters promise to everybody who loads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from motet_alignment.store import AdapterStore, fingerprint
from motet_benchmarks import gym
from motet_benchmarks.toys.adapted import Scorer
from motet_benchmarks.toys.adapters import DPO, NAMES, REWARD, SFT
from motet_benchmarks.toys.answers import answers
from motet_benchmarks.toys.drawing import drawn
from motet_benchmarks.toys.own import merged
from motet_benchmarks.toys.ppo import PPO
from motet_models import ADAPTERS, EXPERT

STORE = AdapterStore(ADAPTERS)
BUNDLED = (*NAMES, PPO)


def right(model) -> float:
    """Part of a few test problems; fewer than the card's, so bounds are wide."""
    from transformers import AutoTokenizer

    problems = gym.instances("test", count=4, seed=1)
    said = answers(problems, AutoTokenizer.from_pretrained(EXPERT), model)
    return sum(problem.grade(text) for problem, text in zip(problems, said, strict=True)) / len(problems)


def adapted(name: str):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    expert = AutoModelForCausalLM.from_pretrained(EXPERT)
    return PeftModel.from_pretrained(expert, str(STORE.get(name).path)).eval()


@pytest.mark.parametrize("name", BUNDLED)
def test_each_is_whole_and_the_experts(name: str):
    adapter = STORE.get(name)
    STORE.verify(adapter)
    assert f"motet-{adapter.kind}" == name
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


def test_sft_beats_the_expert_and_dpo_does_not_fall_behind():
    """The card has the margins; from a hundred and fifty problems only the large one can be told."""
    from transformers import AutoModelForCausalLM

    expert = right(AutoModelForCausalLM.from_pretrained(EXPERT).eval())
    sft, dpo = right(adapted(SFT)), right(adapted(DPO))
    assert sft > expert + 0.05
    assert dpo > expert + 0.1
    assert dpo > sft - 0.05


def test_ppo_went_on_from_sft_and_does_not_fall_behind():
    adapter = STORE.get(PPO)
    assert STORE.get(SFT).reference in adapter.manifest.parents
    assert right(adapted(PPO)) > right(adapted(SFT)) - 0.03


def test_the_reward_adapter_puts_right_above_mistaken():
    scorer = Scorer(EXPERT, STORE.get(REWARD).path)
    problems = gym.instances("test", count=4, seed=1)
    best = scorer([(problem, problem.answer) for problem in problems])
    worse = scorer([(problem, problem.mistakes[0].text) for problem in problems])
    above = sum(one > other for one, other in zip(best, worse, strict=True))
    assert above / len(problems) >= 0.8


def test_the_reward_adapter_finds_right_answers_among_the_sft_adapters():
    """Of four answers the best by it is right more often than one alone; the card says how often it errs."""
    model, tokenizer = merged(EXPERT, STORE.get(SFT).path)
    problems = gym.instances("test", count=4, seed=1)
    said = drawn(problems, tokenizer, model, each=4, seed=0)
    scores = iter(
        Scorer(EXPERT, STORE.get(REWARD).path)(
            [(one, text) for one, texts in zip(problems, said, strict=True) for text in texts]
        )
    )
    alone, best = 0.0, 0
    for problem, texts in zip(problems, said, strict=True):
        graded = [(next(scores), problem.grade(text)) for text in texts]
        alone += sum(right for _, right in graded) / len(graded)
        best += max(graded, key=lambda one: one[0])[1]
    assert best / len(problems) > alone / len(problems) + 0.01


def test_the_reward_adapter_says_what_it_came_of():
    told = STORE.get(REWARD).manifest
    assert [Path(file.path).name for file in told.data] == ["more-judgements-0.jsonl", "answers-0.jsonl"]
    (former,) = told.parents
    assert former.startswith(f"{REWARD}@")
    assert former != STORE.get(REWARD).reference
