"""Which batches both samplers are given, in which order, and what counts."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from motet_alignment.data import Message
from motet_alignment.train.ppo.rollout import PolicyFiles, Prompt, Rollout
from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.ppo.plan import Plan
from motet_benchmarks.ppo.rounds import measure, steps_of
from motet_benchmarks.ppo.samples import (
    ARMS,
    ENGINE,
    GENERATE,
    LOADING,
    REFERENCE,
    ROLLOUTS,
    TRAINING,
    TRANSFORMERS,
)

PROMPTS = [
    Prompt((Message(role="user", content=str(place)),), (1, place), {}, f"prompts.jsonl:{place + 1}")
    for place in range(40)
]
POLICY = Path("policy")


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Fake:
    """Takes as many seconds a token as it is told, and two for a version."""

    clock: Clock
    pace: float
    versions: list[int] = field(default_factory=list)
    calls: list[tuple[float, list[str], list[int]]] = field(default_factory=list)

    def follow(self, policy: PolicyFiles) -> None:
        self.clock.now += 2
        self.versions.append(policy.number)

    def sample(self, prompts, seeds, *, greedy: bool = False):
        self.calls.append((self.clock.now, [prompt.source for prompt in prompts], list(seeds)))
        said = [
            Rollout(prompt, (0,) * (1 + place % 4), "", True, None) for place, prompt in enumerate(prompts)
        ]
        self.clock.now += self.pace * sum(len(one.ids) for one in said)
        return said


@dataclass
class Weigher:
    """Finds all tokens of all answers equally likely."""

    clock: Clock
    pace: float
    value: float = -1.0

    def __call__(self, rollouts):
        self.clock.now += self.pace * sum(len(one.ids) for one in rollouts)
        return [[self.value] * len(one.ids) for one in rollouts]


def run(plan: Plan, apart: float = 0.0):
    clock = Clock()
    samplers = {ENGINE: Fake(clock, 0.01), TRANSFORMERS: Fake(clock, 0.04), GENERATE: Fake(clock, 0.05)}
    steps: list[str] = []
    kept: list[int] = []
    references = {ENGINE: Weigher(clock, 0.02), TRAINING: Weigher(clock, 0.01, -1 + apart)}
    measured = measure(
        plan, samplers, POLICY, PROMPTS, references, steps.append, lambda one: kept.append(one.rounds), clock
    )
    return measured, samplers, steps, kept


def test_all_answer_the_same_prompts_with_the_same_seeds():
    plan = Plan(batches=(8, 16), rounds=3)
    measured, samplers, steps, kept = run(plan)
    engine, *others = ([call[1:] for call in samplers[arm].calls] for arm in ARMS)
    assert others == [engine, engine]
    assert [len(sources) for sources, _ in engine] == [8, 16] * 4
    assert all(len(set(sources)) == len(sources) for sources, _ in engine)
    assert len({tuple(sources) for sources, _ in engine}) == len(engine)
    assert len({seed for _, seeds in engine for seed in seeds}) == 4 * 24
    assert len(steps) == steps_of(plan) == 24
    assert kept == [1, 2, 3]
    assert measured.rounds == 3


def test_none_always_comes_first():
    _, samplers, _, _ = run(Plan(batches=(8,), rounds=3))
    first = [
        one[0] < other[0] for one, other in zip(samplers[ENGINE].calls, samplers[GENERATE].calls, strict=True)
    ]
    assert first == [True, False, True, False]


def test_speeds_are_tokens_of_the_answers_without_loading_and_without_the_warm_up():
    measured, samplers, _, _ = run(Plan(batches=(8, 16), rounds=2))
    assert samplers[ENGINE].versions == [0, 1, 2]
    for arm, speed in ((ENGINE, 100), (TRANSFORMERS, 25), (GENERATE, 20)):
        for batch in (8, 16):
            found = measured.of(ROLLOUTS, arm, batch)
            assert [one.round for one in found] == [1, 2]
            assert [one.tokens for one in found] == [2.5 * batch] * 2
            assert [one.longest for one in found] == [4, 4]
            assert [one.speed for one in found] == pytest.approx([speed] * 2)
    assert [one.seconds for one in measured.of(LOADING, ENGINE)] == pytest.approx([2, 2])


def test_no_round_begins_that_might_end_too_late_but_for_the_first():
    assert run(Plan(batches=(16,), rounds=9, minutes=0))[0].rounds == 1
    # A round takes 2 seconds for the version, and 0.4, 1.6 and 2 for its 40 tokens, and 0.8 and 0.4 for how likely they
    # are.
    assert run(Plan(batches=(16,), rounds=9, minutes=24 / 60))[0].rounds == 2


def test_references_are_timed_on_the_engines_answers():
    measured, _, _, _ = run(Plan(batches=(8, 16), rounds=2))
    for name, speed in ((ENGINE, 50), (TRAINING, 100)):
        found = measured.of(REFERENCE, name, 16)
        assert [one.tokens for one in found] == [40, 40]
        assert [one.speed for one in found] == pytest.approx([speed] * 2)


def test_references_of_two_policies_are_not_compared():
    with pytest.raises(BenchmarkError, match=r"engine and training differ by 0\.1 nats a token"):
        run(Plan(batches=(8,), rounds=1), apart=0.1)
