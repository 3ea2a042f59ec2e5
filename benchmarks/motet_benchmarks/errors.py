"""What stops a benchmark and can be mended by whoever started it."""

from __future__ import annotations


class BenchmarkError(Exception):
    """A sentence for the user: which option, endpoint, server or folder is at fault, and how."""


class Refused(BenchmarkError):
    """A request that an endpoint answered with an error."""

    def __init__(self, sentence: str, status: int) -> None:
        """``status`` is HTTP's."""
        super().__init__(sentence)
        self.status = status
