"""The statistics that the benchmarks share: every figure comes with its 95% interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its 95% interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


@dataclass(frozen=True, slots=True)
class Share:
    """A part of a count, with its Wilson 95% interval."""

    right: int
    of: int
    low: float
    high: float

    @property
    def value(self) -> float:
        """The part itself, from 0 to 1."""
        return self.right / self.of


@dataclass(frozen=True, slots=True)
class Difference:
    """Mean paired difference of two ways to answer, with its bootstrap 95% interval."""

    value: float
    low: float
    high: float
    gains: int
    """Instances that only the first way answers right, or more often."""
    losses: int
    """Instances that only the second way answers right, or more often."""


def share(right: Sequence[bool]) -> Share:
    """The part of `right` that is true. Raises ValueError when empty."""
    if not right:
        raise ValueError("right must hold at least one outcome")
    from scipy import stats

    interval = stats.binomtest(sum(right), len(right)).proportion_ci(0.95, method="wilson")
    return Share(sum(right), len(right), float(interval.low), float(interval.high))


def difference(first: Sequence[float], second: Sequence[float], *, seed: int = 0) -> Difference:
    """How much more often `first` is right than `second` on the same instances.

    An outcome is true or false, or of several runs the share that was right. The interval is the percentile
    bootstrap's over instances, 10,000 resamples. Raises ValueError unless both hold the same number of outcomes, at
    least one.
    """
    import numpy as np
    from scipy import stats

    if len(first) != len(second) or not first:
        raise ValueError(f"paired outcomes needed, got {len(first)} and {len(second)}")
    each = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    if np.ptp(each) == 0:
        low = high = float(each[0])
    else:
        interval = stats.bootstrap(
            (each,),
            np.mean,
            n_resamples=10_000,
            batch=100,
            method="percentile",
            rng=np.random.default_rng(seed),
        ).confidence_interval
        low, high = float(interval.low), float(interval.high)
    return Difference(float(each.mean()), low, high, int((each > 0).sum()), int((each < 0).sum()))


def median(values: Sequence[float], *, seed: int = 0) -> Interval:
    """The median of `values` with the percentile bootstrap's 95% interval, 10,000 resamples.

    Resampling can't reach beyond the values it is given: from fewer than six the interval is at most their whole
    range, which covers the true median less often than 95%. Raises ValueError without any value.
    """
    import numpy as np
    from scipy import stats

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
