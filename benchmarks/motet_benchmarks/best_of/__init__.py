"""Best-of-N: what the best of N is worth by who judges, what early rejection saves, and how fast it is served."""

from __future__ import annotations
