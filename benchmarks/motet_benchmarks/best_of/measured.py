"""Everything that one run has measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from motet_benchmarks.best_of.candidates import Pool
from motet_benchmarks.best_of.cheaper import Saving
from motet_benchmarks.best_of.figures import Point
from motet_benchmarks.best_of.load import Loaded
from motet_benchmarks.best_of.scorers import Spent
from motet_benchmarks.best_of.speed import Sample
from motet_benchmarks.statistics import Interval


@dataclass(frozen=True, slots=True)
class Measured:
    """All figures."""

    points: tuple[Point, ...]
    """Of each kind of problems."""
    families: tuple[Point, ...]
    """Of each kind and family."""
    greedy: Mapping[str, Interval]
    """By kind."""
    agreeing: int
    """Problems on which the estimate for N chooses what the server chose."""
    pools: tuple[Pool, ...]
    savings: tuple[Saving, ...]
    speed: tuple[Sample, ...]
    loaded: Loaded | None
    """None where only quality was measured."""
    scorers: Mapping[str, Spent]
    """In the time that candidates were drawn and judged."""
