"""How busy this machine is while nobody asks anything: what servers that wait cost, and whether others are at work."""

from __future__ import annotations

import asyncio
from pathlib import Path

_STAT = Path("/proc/stat")


async def busy_share(seconds: float, *, stat: Path = _STAT) -> float | None:
    """The share of all cores' time within ``seconds`` that was spent working; None where the system doesn't say."""
    before = _ticks(stat)
    await asyncio.sleep(seconds)
    after = _ticks(stat)
    if before is None or after is None or after[1] == before[1]:
        return None
    return (after[0] - before[0]) / (after[1] - before[1])


def _ticks(stat: Path) -> tuple[int, int] | None:
    """Working and all clock ticks since the start, of all cores together."""
    try:
        name, *fields = stat.read_text(encoding="utf-8").splitlines()[0].split()
    except (OSError, IndexError):
        return None
    if name != "cpu":
        return None
    ticks = [int(field) for field in fields[:8]]  # guests' time is part of user's
    waiting = ticks[3] + ticks[4]  # idle, and waiting for a disk
    return sum(ticks) - waiting, sum(ticks)
