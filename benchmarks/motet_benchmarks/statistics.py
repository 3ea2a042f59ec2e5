"""The statistics that the benchmarks share: every figure comes with its 95% interval."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from motet_benchmarks import intervals


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
    """Mean paired difference of two ways to answer, with its 95% interval, infinite where nothing is known of it."""

    value: float
    low: float
    high: float
    gains: int
    """Instances that only the first way answers right, or more often."""
    losses: int
    """Instances that only the second way answers right, or more often."""
    method: str = "bootstrap over problems"
    """How the interval was found; so what is on record was, that doesn't say it."""


def share(right: Sequence[bool]) -> Share:
    """The part of `right` that is true. Raises ValueError when empty."""
    if not right:
        raise ValueError("right must hold at least one outcome")
    from scipy import stats

    interval = stats.binomtest(sum(right), len(right)).proportion_ci(0.95, method="wilson")
    return Share(sum(right), len(right), float(interval.low), float(interval.high))


def mean_share(values: Sequence[float]) -> Interval:
    """The mean of at least one share, with Wilson's 95% interval of as many problems as they are worth."""
    return Interval(sum(values) / len(values), *intervals.of_share(values))


def difference(first: Sequence[float], second: Sequence[float], *, shares: bool = False) -> Difference:
    """How much more often `first` is right than `second` on the same instances.

    Outcomes that are all true or false have Bonett and Price's interval, shares of several runs that were right
    Newcombe's hybrid score interval, and other figures Student's: see `intervals`.

    Args:
        first, second: an outcome or figure of each instance.
        shares: whether figures can't lie outside 0 and 1.

    Raises:
        ValueError: they don't hold the same number of outcomes, at least one.
    """
    import numpy as np

    if len(first) != len(second) or not first:
        raise ValueError(f"paired outcomes needed, got {len(first)} and {len(second)}")
    each = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    gains, losses = int((each > 0).sum()), int((each < 0).sum())
    if binary(first, second):
        method, (low, high) = "Bonett and Price", intervals.of_pairs(gains, losses, len(first))
    elif shares:
        method, (low, high) = "Newcombe's hybrid score", intervals.of_shares(first, second, paired=True)
    else:
        method, (low, high) = "Student's", intervals.of_figures(first, second)
    return Difference(float(each.mean()), low, high, gains, losses, method)


def binary(*columns: Sequence[float]) -> bool:
    """Whether all figures are 0 or 1."""
    return {float(value) for column in columns for value in column} <= {0.0, 1.0}


def mean(values: Sequence[float]) -> Interval:
    """The mean of at least one figure, with Student's 95% interval; without any width where nothing varies."""
    import numpy as np
    from scipy import stats

    middle = float(np.mean(values))
    if np.ptp(values) == 0:
        return Interval(middle, middle, middle)
    reach = float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))
    return Interval(middle, middle - reach, middle + reach)


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


def means(columns: Sequence[Sequence[float]], *, seed: int = 0) -> list[Interval]:
    """The mean of each column, all of them figures of the same instances, with the percentile bootstrap's 95% interval.

    The instances are resampled for all columns together, 10,000 times. Raises ValueError for columns of different
    lengths or without a figure.
    """
    import numpy as np

    if len(set(map(len, columns))) != 1 or not columns[0]:
        raise ValueError("columns must hold as many figures each, at least one")
    figures = np.asarray(columns, dtype=np.float64)  # [columns, instances]
    drawn = np.concatenate([counts @ figures.T for counts in _resamples(figures.shape[1], seed)])
    low, high = np.percentile(drawn / figures.shape[1], (2.5, 97.5), axis=0)
    # Rounding may put a bound of figures that are all alike a hair inside their mean.
    return [
        Interval(float(value), float(min(value, under)), float(max(value, over)))
        for value, under, over in zip(figures.mean(axis=1), low, high, strict=True)
    ]


def ratio_of_sums(above: Sequence[float], below: Sequence[float], *, seed: int = 0) -> Interval:
    """The sum of ``above`` over that of ``below``, both of the same instances, which the bootstrap resamples.

    Raises ValueError unless both hold the same number of figures, at least one, and those below are positive.
    """
    import numpy as np

    if len(above) != len(below) or not below:
        raise ValueError(f"paired figures needed, got {len(above)} and {len(below)}")
    if any(value <= 0 for value in below):
        raise ValueError("figures to divide by must be positive")
    both = np.asarray([above, below], dtype=np.float64)
    drawn = np.concatenate([counts @ both.T for counts in _resamples(len(below), seed)])
    low, high = np.percentile(drawn[:, 0] / drawn[:, 1], (2.5, 97.5))
    return Interval(float(both[0].sum() / both[1].sum()), float(low), float(high))


def percentiles(
    rounds: Sequence[tuple[Sequence[float], Sequence[float]]],
    percent: float,
    *,
    seed: int = 0,
) -> tuple[Interval, Interval, Interval]:
    """A percentile of the figures of two arms, and of the second over the first.

    The bootstrap draws whole rounds, 2,000 times, both arms of one together: figures that share a round share its luck.

    Args:
        rounds: of each round the figures of both arms; none empty.
        percent: from 0 to 100.
        seed: for the bootstrap.
    """
    import numpy as np

    def figures(drawn: Sequence[int]) -> tuple[float, float]:
        first, second = (
            float(np.percentile(np.concatenate([rounds[place][arm] for place in drawn]), percent))
            for arm in (0, 1)
        )
        return first, second

    here = figures(range(len(rounds)))
    rng = np.random.default_rng(seed)
    drawn = np.array([figures(rng.integers(len(rounds), size=len(rounds)).tolist()) for _ in range(2000)])

    def interval(value: float, values: object) -> Interval:
        low, high = np.percentile(values, (2.5, 97.5))  # type: ignore[call-overload]
        return Interval(value, float(low), float(high))

    return (
        interval(here[0], drawn[:, 0]),
        interval(here[1], drawn[:, 1]),
        interval(here[1] / here[0], drawn[:, 1] / drawn[:, 0]),
    )


def _resamples(instances: int, seed: int) -> Iterator[Any]:
    """How often each instance is drawn in each of 10,000 resamples, in pieces that fit into memory."""
    import numpy as np

    rng = np.random.default_rng(seed)
    for _ in range(20):
        yield rng.multinomial(instances, np.full(instances, 1 / instances), size=500)
