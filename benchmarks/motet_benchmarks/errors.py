"""What stops a benchmark and can be mended by whoever started it."""

from __future__ import annotations


class BenchmarkError(Exception):
    """A sentence for the user: which option, endpoint, server or folder is at fault, and how."""
