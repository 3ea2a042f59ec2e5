"""What a second model costs, and what the server gains over a loop: ratios of arms measured side by side."""

from __future__ import annotations

from motet_benchmarks.overhead.rounds import Plan, Rounds
from motet_benchmarks.overhead.run import measure
from motet_benchmarks.overhead.samples import Measured, Sample

__all__ = ["Measured", "Plan", "Rounds", "Sample", "measure"]
