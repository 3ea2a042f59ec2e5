"""Percentiles and rates of requests that share a queue: intervals by resampling blocks of time, not requests.

Neighbours in time wait behind the same requests, so they know less than as many independent ones. Blocks are resampled
as wholes, for all servers the same ones, since these had the same arrivals in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from motet_benchmarks.statistics import Interval

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RESAMPLES = 1000
#: Weights held at once.
_ROOM = 4_000_000


def resamples(blocks: int, seed: int) -> NDArray[np.float64]:
    """How often each block is drawn in each resample: [RESAMPLES, blocks]."""
    import numpy as np

    rng = np.random.default_rng(seed)
    return rng.multinomial(blocks, np.full(blocks, 1 / blocks), size=RESAMPLES).astype(np.float64)


def percentiles(
    values: Sequence[float], blocks: Sequence[int], drawn: NDArray[np.float64], percents: Sequence[float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Percentiles of `values`, and of each resample: [percents] and [RESAMPLES, percents].

    The least value that so large a part of all doesn't exceed. NaN for a resample that has drawn no value. Raises
    ValueError without values.

    Args:
        values: at least one.
        blocks: the block of each.
        drawn: as `resamples` gives it.
        percents: from 0 to 100, above 0.
    """
    import numpy as np

    if not len(values):
        raise ValueError("values must hold at least one figure")
    order = np.argsort(values, kind="stable")
    ordered, block = np.asarray(values, dtype=np.float64)[order], np.asarray(blocks)[order]

    def of(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        whole = np.cumsum(weights, axis=1)
        found = np.empty((len(weights), len(percents)))
        for place, percent in enumerate(percents):
            # Less a whisker, or a sum such as 0.99 * 100 would be rounded beyond its value.
            wanted = whole[:, -1:] * (percent / 100) - 1e-9
            found[:, place] = ordered[np.argmax(whole >= wanted, axis=1)]
        found[whole[:, -1] == 0] = np.nan
        return found

    rows = max(1, _ROOM // len(ordered))
    each = [of(drawn[begin : begin + rows, block]) for begin in range(0, len(drawn), rows)]
    return of(np.ones((1, len(ordered))))[0], np.concatenate(each)


def rates(
    counts: Sequence[float], seconds: float, drawn: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64]]:
    """Events a second in all blocks, and in each resample of them.

    Args:
        counts: of each block.
        seconds: of a block.
        drawn: as `resamples` gives it.
    """
    import numpy as np

    whole = seconds * len(counts)
    return sum(counts) / whole, drawn @ np.asarray(counts, dtype=np.float64) / whole


def interval(value: float, drawn: NDArray[np.float64]) -> Interval | None:
    """The percentile bootstrap's 95% interval; None where nothing that was drawn is a number."""
    import numpy as np

    numbers = drawn[np.isfinite(drawn)]
    if not len(numbers) or not np.isfinite(value):
        return None
    low, high = np.percentile(numbers, (2.5, 97.5))
    return Interval(float(value), float(low), float(high))
