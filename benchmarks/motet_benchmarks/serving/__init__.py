"""What a second model costs, and what the server gains over a loop: ratios of arms measured side by side."""

from __future__ import annotations

from motet_benchmarks.serving.rounds import Measured, Plan, Rounds, Sample
from motet_benchmarks.serving.run import measure

__all__ = ["Measured", "Plan", "Rounds", "Sample", "measure"]
