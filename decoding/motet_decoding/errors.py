"""What a caller asked for and can't have."""

from __future__ import annotations


class RequestError(ValueError):
    """A request field that can't be honoured.

    Attributes:
        field: dotted path of the offending field in the request body, e.g. ``contrast.strength``.
        message: what is wrong with it and what would be right, one sentence.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class LaunchError(ValueError):
    """A server or engine that can't be started as asked; the message says what to do instead."""
