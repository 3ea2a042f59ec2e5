"""The measurement of rollouts: all samplers in every round, on the same prompts, so that noise falls on all."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from motet_alignment.train.ppo.rollout import PolicyFiles, Prompt, Rollout, Sampler
from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.ppo.plan import Plan
from motet_benchmarks.ppo.samples import ARMS, ENGINE, LOADING, REFERENCE, ROLLOUTS, Measured, Sample

#: Log-probabilities of each answer's tokens, in nats.
Reference = Callable[[Sequence[Rollout]], Sequence[Sequence[float]]]

#: References that differ by more on average, in nats, are of two policies.
_ALIKE = 0.05


def steps_of(plan: Plan) -> int:
    """How many measurements `plan` makes, warm-up included, unless time runs out first."""
    return (plan.rounds + 1) * len(ARMS) * len(plan.batches)


def measure(
    plan: Plan,
    samplers: Mapping[str, Sampler],
    policy: Path,
    prompts: Sequence[Prompt],
    references: Mapping[str, Reference],
    step: Callable[[str], None],
    keep: Callable[[Measured], None],
    clock: Callable[[], float] = time.perf_counter,
) -> Measured:
    """One round to warm up, then as many as planned or as time allows, at least one.

    Args:
        plan: what to measure.
        samplers: by the arm's name; all but the engine have the policy already.
        policy: the same in PEFT's files; before every round the engine loads it as another version.
        prompts: that every batch is drawn from, at least as many as the largest has.
        references: who says how likely the engine's answers are under the reference, by name.
        step: told of every measurement that begins.
        keep: told after every round of what has been measured so far.
        clock: in seconds.

    Raises BenchmarkError where two references disagree.
    """
    rng = random.Random(plan.seed)
    end = clock() + 60 * plan.minutes
    measured = Measured((), 0)
    longest = 0.0
    for number in range(plan.rounds + 1):
        begun = clock()
        if measured.rounds and begun + longest > end:
            break
        samples = []
        before = clock()
        samplers[ENGINE].follow(PolicyFiles(policy, number))
        samples.append(Sample(LOADING, ENGINE, 0, number, 0, 0, 0, clock() - before))
        for batch in plan.batches:
            asked = rng.sample(prompts, batch)
            seeds = [rng.randrange(2**31) for _ in asked]
            answered: dict[str, Sequence[Rollout]] = {}
            # In turn forwards and backwards: none always comes first.
            for arm in ARMS if number % 2 == 0 else reversed(ARMS):
                step(f"round {number or 'zero, to warm up'}: {arm}, {batch} at once")
                before = clock()
                said = samplers[arm].sample(asked, seeds)
                seconds = clock() - before
                lengths = [len(one.ids) for one in said]
                samples.append(Sample(ROLLOUTS, arm, batch, number, 0, sum(lengths), max(lengths), seconds))
                answered[arm] = said
            samples += _weigh(answered[ENGINE], references, batch, number, clock)
        if number:
            measured = Measured((*measured.samples, *samples), measured.rounds + 1)
            keep(measured)
        longest = max(longest, clock() - begun)
    return measured


def _weigh(
    answered: Sequence[Rollout],
    references: Mapping[str, Reference],
    batch: int,
    number: int,
    clock: Callable[[], float],
) -> list[Sample]:
    """How long each takes over the same answers."""
    lengths = [len(one.ids) for one in answered]
    samples, found = [], []
    for name in references if number % 2 == 0 else reversed(list(references)):
        before = clock()
        found.append([one for row in references[name](answered) for one in row])
        seconds = clock() - before
        samples.append(Sample(REFERENCE, name, batch, number, 0, sum(lengths), max(lengths), seconds))
    for other in found[1:]:
        apart = sum(abs(one - two) for one, two in zip(found[0], other, strict=True)) / len(other)
        if not apart <= _ALIKE:
            raise BenchmarkError(
                f"{' and '.join(references)} differ by {apart:.3g} nats a token on the reference"
            )
    return samples
