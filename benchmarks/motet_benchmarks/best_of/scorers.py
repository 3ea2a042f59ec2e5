"""How long scorers take, as the server's own metrics have it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from motet_benchmarks.endpoint import CONNECT_SECONDS
from motet_benchmarks.errors import BenchmarkError

_LINE = re.compile(r'^motet_scorer_seconds_(sum|count)\{[^}]*by="([^"]+)"[^}]*\} (\S+)$', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Spent:
    """What a kind of scorer has taken."""

    calls: float
    """Of single candidates, or of a prompt's candidates together where it needs them so."""
    seconds: float


async def spent(url: str) -> dict[str, Spent]:
    """By kind of scorer, since the server's start; nothing where it has no such metrics.

    Raises BenchmarkError if the endpoint doesn't answer.
    """
    try:
        async with httpx.AsyncClient(timeout=CONNECT_SECONDS, trust_env=False) as client:
            response = await client.get(f"{url}/metrics")
    except httpx.HTTPError as problem:
        raise BenchmarkError(f"{url}/metrics doesn't answer: {problem!r}") from None
    return read(response.text) if response.status_code == 200 else {}


def read(text: str) -> dict[str, Spent]:
    """What Prometheus' text says; several processes' figures are added up."""
    found: dict[str, dict[str, float]] = {}
    for which, kind, number in _LINE.findall(text):
        sums = found.setdefault(kind, {"sum": 0.0, "count": 0.0})
        sums[which] += float(number)
    return {kind: Spent(sums["count"], sums["sum"]) for kind, sums in found.items()}


def between(before: Mapping[str, Spent], after: Mapping[str, Spent]) -> dict[str, Spent]:
    """What was spent from one moment to another, by those that were called."""
    none = Spent(0.0, 0.0)
    return {
        kind: Spent(calls, late.seconds - before.get(kind, none).seconds)
        for kind, late in after.items()
        if (calls := late.calls - before.get(kind, none).calls) > 0
    }
