"""Chooses Triton's interpreter. pytest comes here first only if this folder is asked for by its name."""

from __future__ import annotations

import os
import sys

import pytest

if "triton" in sys.modules and os.environ.get("TRITON_INTERPRET") != "1":
    raise pytest.UsageError(
        "Triton was imported without its interpreter: run tests/kernels/interpreted by itself"
    )
os.environ["TRITON_INTERPRET"] = "1"
