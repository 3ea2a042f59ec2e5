"""Triton's interpreter stands in for a GPU. It has to be chosen before Triton is imported: it gets its own processes.

The tests in ``interpreted/`` run Triton code on CPU tensors. ``test_interpreted.py`` runs them in such processes; the
process that runs all other tests leaves them out.
"""

from __future__ import annotations

import os
from pathlib import Path

INTERPRETED = Path(__file__).parent / "interpreted"


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    return True if collection_path == INTERPRETED and os.environ.get("TRITON_INTERPRET") != "1" else None
