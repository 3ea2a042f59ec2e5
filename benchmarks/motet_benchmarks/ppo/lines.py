"""What the measurement says: engine against transformers, side by side, each ratio with its interval."""

from __future__ import annotations

from collections.abc import Sequence

from motet_benchmarks.overhead.lines import Line
from motet_benchmarks.ppo.samples import (
    ENGINE,
    GENERATE,
    LOADING,
    LOOP,
    REFERENCE,
    ROLLOUTS,
    SAMPLERS,
    TRAINING,
    TRANSFORMERS,
    Measured,
    Sample,
)
from motet_benchmarks.statistics import Interval, median, ratio

#: What the engine's rollouts are to be worth, where lengths vary.
AIM = 3.0

ANSWERS = "rollout tokens per second: engine / transformers' generate"
OWN_ANSWERS = "rollout tokens per second: engine / transformers sampler"
REFERENCES = "the reference's log-probabilities a second: training / engine"
PER_HOUR = "iterations per hour: engine / transformers sampler"


def lines(measured: Measured) -> list[Line]:
    """The ratios that were measured."""
    found = [
        Line(
            name,
            batch,
            ratio(*(_speeds(measured.of(ROLLOUTS, arm, batch)) for arm in (ENGINE, rival))),
            measured.rounds,
            aim,
        )
        for name, rival, aim in ((ANSWERS, GENERATE, AIM), (OWN_ANSWERS, TRANSFORMERS, None))
        for batch in measured.batches()
    ]
    found += [
        Line(
            REFERENCES,
            batch,
            ratio(*(_speeds(measured.of(REFERENCE, name, batch)) for name in (TRAINING, ENGINE))),
            measured.rounds,
            None,
        )
        for batch in measured.batches()
    ]
    loop = [measured.of(LOOP, arm) for arm in SAMPLERS]
    if all(loop):
        found.append(
            Line(PER_HOUR, loop[0][0].batch, ratio(*map(iterations_per_hour, loop)), len(loop[0]), None)
        )
    return found


def iterations_per_hour(samples: Sequence[Sample]) -> list[float]:
    """Of each iteration, all its phases together."""
    return [3600 / (sample.seconds + sample.other) for sample in samples]


def speed(measured: Measured, arm: str, batch: int) -> Interval:
    """Tokens per second of the answers."""
    return median(_speeds(measured.of(ROLLOUTS, arm, batch)))


def loading(measured: Measured) -> Interval:
    """Seconds in which the engine takes another version of the policy."""
    return median([sample.seconds for sample in measured.of(LOADING, ENGINE)])


def idle(measured: Measured, batch: int) -> float:
    """Part of a static batch's rows that has ended while its longest answer goes on: what the engine can win back."""
    samples = measured.of(ROLLOUTS, GENERATE, batch)
    return 1 - sum(sample.tokens for sample in samples) / sum(sample.longest * batch for sample in samples)


def _speeds(samples: Sequence[Sample]) -> list[float]:
    return [sample.speed for sample in samples]
