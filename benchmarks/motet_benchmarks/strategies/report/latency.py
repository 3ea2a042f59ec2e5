"""How long requests took, as whoever sent them sees it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from motet_benchmarks.strategies.figures import Table
from motet_benchmarks.strategies.records import Sample


@dataclass(frozen=True, slots=True)
class Quantile:
    """A quantile with its 95% interval from order statistics, exact where figures are independent of each other.

    A bound is none that so few can't give.
    """

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Measure:
    """One kind of time."""

    key: str
    title: str
    of: Callable[[Sample], float | None]


SECONDS = Measure("seconds", "whole answer", lambda sample: sample.seconds)
MEASURES = (
    SECONDS,
    Measure("first_token", "first token", lambda sample: sample.first_token),
    Measure("per_token", "each further token", lambda sample: sample.per_token),
)


@dataclass(frozen=True, slots=True)
class Latency:
    """One kind of time of one strategy on one task, in seconds."""

    task: str
    strategy: str
    measure: str
    requests: int
    p50: Quantile
    p99: Quantile


def latencies(table: Table) -> list[Latency]:
    """Every kind of time that was measured, of every strategy on every task."""
    found = []
    for task, name in table.cells():
        for measure in MEASURES:
            values = times(table, task, name, measure)
            if values:
                found.append(
                    Latency(
                        task, name, measure.key, len(values), quantile(values, 0.5), quantile(values, 0.99)
                    )
                )
    return found


def times(table: Table, task: str, strategy: str, measure: Measure) -> list[float]:
    """All that were measured."""
    return [value for sample in table.each(task, strategy) if (value := measure.of(sample)) is not None]


def quantile(values: Sequence[float], part: float) -> Quantile:
    """The `part` quantile, from 0 to 1, of at least one value."""
    import numpy as np
    from scipy import stats

    bounds = stats.quantile_test(values, q=0.0, p=part).confidence_interval(0.95)
    low, high = (None if math.isnan(bound) else float(bound) for bound in (bounds.low, bounds.high))
    return Quantile(float(np.quantile(values, part)), low, high)
