"""What stops a benchmark and can be mended by whoever started it."""

from __future__ import annotations


class BenchmarkError(Exception):
    """A sentence for the user: which option, endpoint, server or folder is at fault, and how."""


class Refused(BenchmarkError):
    """A request that an endpoint answered with an error."""

    def __init__(self, sentence: str, status: int, *, said: str | None = None) -> None:
        """``status`` is HTTP's, ``said`` the endpoint's own words within the sentence."""
        super().__init__(sentence)
        self.status = status
        self.said = sentence if said is None else said


class Busy(Refused):
    """A request that an endpoint, or what stands before it, had no time for, and that may be asked again."""

    def __init__(self, sentence: str, status: int, *, said: str, after: float | None = None) -> None:
        """``after`` so many seconds it wants to be asked again, where it says so."""
        super().__init__(sentence, status, said=said)
        self.after = after


class Unreachable(BenchmarkError):
    """A connection that was refused: nothing was asked."""
