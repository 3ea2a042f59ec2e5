"""Measured values with 95% intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Estimate(BaseModel):
    """A value, where its true value lies with 95% confidence, and from how many observations."""

    model_config = ConfigDict(frozen=True)

    value: float
    low: float
    high: float
    n: int = Field(ge=0, description="Observations.")

    def text(self, percent: bool = False) -> str:
        """As people read it."""
        if percent:
            return f"{self.value:.1%} ({self.low:.1%} to {self.high:.1%}, n = {self.n:,})"
        return f"{self.value:.4f} ({self.low:.4f} to {self.high:.4f}, n = {self.n:,})"


def proportion(hits: int, n: int) -> Estimate:
    """A share with Wilson's interval. `n` above 0."""
    from scipy.stats import binomtest

    interval = binomtest(hits, n).proportion_ci(method="wilson")
    return Estimate(value=hits / n, low=float(interval.low), high=float(interval.high), n=n)


def ratio(amounts: Sequence[float], weights: Sequence[float]) -> Estimate:
    """sum(amounts) / sum(weights) over independent observations, with the normal interval of a ratio.

    With weights of 1 this is the mean. One observation alone has no width. Weights sum to more than 0.
    """
    n, whole = len(amounts), sum(weights)
    value = sum(amounts) / whole
    if n < 2:
        return Estimate(value=value, low=value, high=value, n=n)
    squares = sum((amount - value * weight) ** 2 for amount, weight in zip(amounts, weights, strict=True))
    error = 1.96 * math.sqrt(squares * n / (n - 1)) / whole
    return Estimate(value=value, low=value - error, high=value + error, n=n)


def as_json(metrics: Mapping[str, Estimate | float | int | str]) -> dict[str, Any]:
    """Metrics as JSON values."""
    return {
        key: value.model_dump() if isinstance(value, Estimate) else value for key, value in metrics.items()
    }
