"""How contrast is tried on the gym, over HTTP and on the bundled pair alike: on how much, with which settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from motet_benchmarks.statistics import Share

if TYPE_CHECKING:
    from motet_decoding.contrast import Contrast

#: Problems of each family: on the test split, and on the validation split where settings are chosen.
COUNT = 40
TUNING = 12

#: Among what they are chosen.
STRENGTHS = (0.25, 0.5, 1.0, 1.5)
PLAUSIBILITIES = (0.05, 0.1, 0.3)


@dataclass(frozen=True, slots=True)
class Trial:
    """One contrast tried on the validation split."""

    strength: float
    plausibility: float
    share: Share


def candidates() -> list[Contrast]:
    """Every strength with every plausibility."""
    from motet_decoding.contrast import Contrast

    return [Contrast(strength=s, plausibility=p) for s in STRENGTHS for p in PLAUSIBILITIES]


def best(trials: Sequence[Trial]) -> Contrast:
    """What the trial with the most right answers tried; of equals the first. Raises ValueError without any."""
    from motet_decoding.contrast import Contrast

    winner = max(trials, key=lambda trial: trial.share.right)
    return Contrast(strength=winner.strength, plausibility=winner.plausibility)
