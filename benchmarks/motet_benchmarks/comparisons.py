"""Whether two ways to answer differ: the paired difference, a test of it, and the correction for many tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from motet_benchmarks import intervals
from motet_benchmarks.statistics import Difference, binary, difference

#: A difference counts where its corrected p-value is at most this.
LEVEL = 0.05

BETTER, WORSE, NO_DIFFERENCE = "better", "worse", "no clear difference"

MCNEMAR, SIGN_FLIP, SHUFFLE = "exact McNemar", "sign-flip permutation", "permutation"

#: Resamples of a permutation test that can't go through all of them.
RESAMPLES = 9_999


@dataclass(frozen=True, slots=True)
class Tested:
    """A difference and how surprising it would be if there were none."""

    difference: Difference
    p: float
    """Two-sided, of this test alone."""
    test: str
    problems: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """A difference tested among others."""

    difference: Difference
    p: float
    corrected: float
    """The p-value after the correction for all tests of its set (Benjamini and Hochberg)."""
    test: str
    problems: int

    @property
    def clear(self) -> bool:
        """Whether the corrected test calls it more than noise."""
        return self.corrected <= LEVEL and self.difference.value != 0

    @property
    def verdict(self) -> str:
        """What can be said of the first way, of a figure that is better when higher."""
        if not self.clear:
            return NO_DIFFERENCE
        return BETTER if self.difference.value > 0 else WORSE


def paired(first: Sequence[float], second: Sequence[float], *, seed: int = 0, shares: bool = False) -> Tested:
    """How `first` differs from `second` on the same problems, figure by figure.

    Figures that are all 0 or 1 are tested by McNemar's exact test, others by flipping the signs of their differences.
    The interval is that of `statistics.difference`. It isn't the test turned round, so that either may exclude no
    difference where the other doesn't quite.

    Args:
        first, second: a figure of each problem.
        seed: of the test.
        shares: whether figures can't lie outside 0 and 1.

    Raises:
        ValueError: they don't hold the same number of figures, at least one.
    """
    found = difference(first, second, shares=shares)
    whole = binary(first, second)
    p = _mcnemar(found.gains, found.losses) if whole else _sign_flip(first, second, seed)
    return Tested(found, p, MCNEMAR if whole else SIGN_FLIP, len(first))


def unpaired(
    first: Sequence[float], second: Sequence[float], *, seed: int = 0, shares: bool = False
) -> Tested:
    """How the mean of `first` differs from that of `second`, measured on different problems.

    The interval is Newcombe's hybrid score interval of shares and of figures that are all 0 or 1, else Welch's; the
    test is a permutation test. Gains and losses, which only pairs have, are 0.

    Args:
        first, second: a figure of each problem.
        seed: of the test.
        shares: whether figures can't lie outside 0 and 1.

    Raises:
        ValueError: either is empty.
    """
    import numpy as np
    from scipy import stats

    if not first or not second:
        raise ValueError("both must hold at least one figure")
    if shares or binary(first, second):
        method, (low, high) = "Newcombe's hybrid score", intervals.of_shares(first, second, paired=False)
    else:
        method, (low, high) = "Welch's", intervals.of_others(first, second)
    one, other = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    found = Difference(float(one.mean() - other.mean()), low, high, 0, 0, method)
    count = len(one) + len(other)
    if np.ptp(np.concatenate([one, other])) == 0:
        return Tested(found, 1.0, SHUFFLE, count)
    p = stats.permutation_test(
        (one, other),
        lambda x, y, axis: np.mean(x, axis=axis) - np.mean(y, axis=axis),
        permutation_type="independent",
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=1_000,
        rng=np.random.default_rng(seed),
    ).pvalue
    return Tested(found, float(p), SHUFFLE, count)


def corrected(tests: Sequence[Tested]) -> list[Comparison]:
    """The same tests as one set, their p-values corrected for how many they are.

    Of the differences that are then called clear, at most a share of `LEVEL` is expected to be none.
    """
    from scipy import stats

    if not tests:
        return []
    values = stats.false_discovery_control([test.p for test in tests], method="bh")
    return [
        Comparison(test.difference, test.p, float(value), test.test, test.problems)
        for test, value in zip(tests, values, strict=True)
    ]


def _mcnemar(gains: int, losses: int) -> float:
    from scipy import stats

    return float(stats.binomtest(gains, gains + losses, 0.5).pvalue) if gains + losses else 1.0


def _sign_flip(first: Sequence[float], second: Sequence[float], seed: int) -> float:
    import numpy as np
    from scipy import stats

    one, other = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    moved = one != other  # a pair without a difference has no sign to flip
    if not moved.any():
        return 1.0
    if moved.sum() == 1:
        return 1.0  # either sign is as far from 0
    found = stats.permutation_test(
        (one[moved], other[moved]),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=1_000,
        rng=np.random.default_rng(seed),
    )
    return float(found.pvalue)
