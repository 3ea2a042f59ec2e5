"""Whether contrast answers better than plain decoding: the gym over HTTP, the same problems both ways."""

from __future__ import annotations

from motet_benchmarks.contrast.run import Measured, Questions, compare, measure

__all__ = ["Measured", "Questions", "compare", "measure"]
