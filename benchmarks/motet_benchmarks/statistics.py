"""The statistics that the benchmarks share: every figure comes with its 95% interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from motet_benchmarks.toys.evaluate import Difference, Share, difference, share

__all__ = ["Difference", "Interval", "Share", "difference", "median", "ratio", "share"]


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its 95% interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def median(values: Sequence[float], *, seed: int = 0) -> Interval:
    """The median of `values` with the percentile bootstrap's 95% interval, 10,000 resamples.

    Resampling can't reach beyond the values it is given: from fewer than six the interval is at most their whole
    range, which covers the true median less often than 95%. Raises ValueError without any value.
    """
    if len(values) == 0:
        raise ValueError("values must hold at least one figure")
    array = np.asarray(values, dtype=np.float64)
    middle = float(np.median(array))
    if np.ptp(array) == 0:
        return Interval(middle, middle, middle)
    interval = stats.bootstrap(
        (array,), np.median, n_resamples=10_000, method="percentile", rng=np.random.default_rng(seed)
    ).confidence_interval
    return Interval(middle, float(interval.low), float(interval.high))


def ratio(above: Sequence[float], below: Sequence[float], *, seed: int = 0) -> Interval:
    """The median of `above[i] / below[i]`, the two measured side by side in round i.

    Raises ValueError unless both hold the same number of figures, at least one, and those below are positive.
    """
    if len(above) != len(below):
        raise ValueError(f"paired figures needed, got {len(above)} and {len(below)}")
    if any(value <= 0 for value in below):
        raise ValueError("figures to divide by must be positive")
    return median([one / other for one, other in zip(above, below, strict=True)], seed=seed)
