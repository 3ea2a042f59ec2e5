"""Endpoints that fail are told at once: their users' patience is tested by itself."""

from __future__ import annotations

import pytest

from motet_benchmarks.strategies import patience


@pytest.fixture(autouse=True)
def _without_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "SECONDS", 0.0)
