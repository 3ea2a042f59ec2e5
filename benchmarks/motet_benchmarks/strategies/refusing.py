"""When an endpoint doesn't do what a strategy asks for."""

from __future__ import annotations

from motet_benchmarks.errors import BenchmarkError, Refused

#: What an endpoint answers to a request that it doesn't serve. Anything else that goes wrong ends a run.
REFUSALS = frozenset({400, 404, 413, 422})
#: With these it says that a text isn't one it can read, which may be too long.
UNREADABLE = frozenset({400, 413, 422})


class Ignored(BenchmarkError):
    """A strategy that an endpoint answers without doing what it asks for."""


def refuses(error: BenchmarkError) -> bool:
    """Whether the request is at fault, or what it asks for, and not the endpoint."""
    return isinstance(error, Ignored) or (isinstance(error, Refused) and error.status in REFUSALS)
