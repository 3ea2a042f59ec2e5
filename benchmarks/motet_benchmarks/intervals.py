"""95% intervals that hold for few problems and for shares near 0 and 1.

The bootstrap doesn't: it can't reach beyond what was seen, so that problems that all came out alike would leave no
doubt. A share has no such trouble in Wilson's interval, and what is here carries that over to means of draws and to
differences. A bound is infinite where the figures say nothing about it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

#: Quantile of the normal distribution.
Z = NormalDist().inv_cdf(0.975)

#: What two more problems, one right and one wrong, add to the sum of squares by which a share's problems are spread.
#: Without it, problems that came out alike by luck would count as many times more of them.
MORE = 0.5

#: Fewer differences than this that aren't the commonest one tell little of how differences spread.
FEW = 10

NOTHING = (-math.inf, math.inf)


def of_share(values: Sequence[float]) -> tuple[float, float]:
    """Of the mean of at least one figure from 0 to 1, each a problem's own share of right answers.

    Wilson's interval of the effective number of problems (Korn and Graubard, 1998): as many as would spread a mean of
    zeros and ones as little as theirs. Where each is 0 or 1 that is their own number, and Wilson's own interval.
    """
    import numpy as np

    return _wilson(np.asarray(values, dtype=np.float64))


def of_pairs(gains: int, losses: int, pairs: int) -> tuple[float, float]:
    """Of the difference of two shares of right answers to the same problems, of which there is at least one.

    Bonett and Price's interval (2012): Wald's after one more gain and one more loss. It depends, as McNemar's test
    does, on nothing but the problems that one of the two has right.

    Args:
        gains, losses: problems that only the first, and only the second has right.
        pairs: all problems.
    """
    more = pairs + 2
    middle = (gains - losses) / more
    reach = Z * math.sqrt(((gains + losses + 2) / more - middle**2) / more)
    return max(-1.0, middle - reach), min(1.0, middle + reach)


def of_shares(first: Sequence[float], second: Sequence[float], *, paired: bool) -> tuple[float, float]:
    """Of the difference of two means of figures from 0 to 1, at least one each.

    Newcombe's hybrid score interval (1998), from the intervals of both means, as Zou and Donner (2008) have it for any
    two figures: paired, it is narrower by as much as the two go together.
    """
    import numpy as np

    one, other = (np.asarray(values, dtype=np.float64) for values in (first, second))
    (low, high), (under, over) = _wilson(one), _wilson(other)
    value, together = one.mean() - other.mean(), 0.0
    if paired:
        each, its = one - one.mean(), other - other.mean()
        together = (each @ its) / math.sqrt((each @ each + MORE) * (its @ its + MORE))

    def reach(mine: float, theirs: float) -> float:
        return math.sqrt(max(0.0, mine**2 - 2 * together * mine * theirs + theirs**2))

    return (
        float(value) - reach(one.mean() - low, over - other.mean()),
        float(value) + reach(high - one.mean(), other.mean() - under),
    )


def of_figures(first: Sequence[float], second: Sequence[float]) -> tuple[float, float]:
    """Of the mean difference of any figures of the same problems: Student's of the differences.

    Where most are the same and hardly any differ, their spread says too little: the two then count as going together a
    little less than they were seen to, as if one more problem had shown them unrelated. Nothing is known from one
    problem, and from figures that never vary.
    """
    import numpy as np
    from scipy import stats

    count = len(first)
    if count < 2:
        return NOTHING
    each = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    spread = float(np.var(each, ddof=1))
    alike = int(np.unique(each, return_counts=True)[1].max())
    if alike > 1 and count - alike < FEW:
        spread += 2 * max(0.0, float(np.cov(first, second)[0, 1])) / (count + 1)
    if spread <= 0:
        return NOTHING
    value = float(each.mean())
    reach = float(stats.t.ppf(0.975, count - 1)) * math.sqrt(spread / count)
    return value - reach, value + reach


def of_others(first: Sequence[float], second: Sequence[float]) -> tuple[float, float]:
    """Of the difference of the means of any figures of different problems: Welch's."""
    import numpy as np
    from scipy import stats

    if min(len(first), len(second)) < 2 or (np.ptp(first) == 0 and np.ptp(second) == 0):
        return NOTHING
    found = stats.ttest_ind(first, second, equal_var=False).confidence_interval(0.95)
    return float(found.low), float(found.high)


def _wilson(values: Any) -> tuple[float, float]:
    count, mean = len(values), float(values.mean())
    effective = count * (count * mean * (1 - mean) + MORE) / (float(((values - mean) ** 2).sum()) + MORE)
    middle = (mean + Z**2 / (2 * effective)) / (1 + Z**2 / effective)
    half = Z / (1 + Z**2 / effective) * math.sqrt(mean * (1 - mean) / effective + Z**2 / (4 * effective**2))
    return max(0.0, middle - half), min(1.0, middle + half)
