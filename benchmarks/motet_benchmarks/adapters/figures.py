"""What swaps cost: the latency of the requests beside them, and the server's memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from motet_benchmarks.adapters.samples import (
    BASE,
    CURRENT,
    PINNED,
    WITH,
    WITHOUT,
    Measured,
    Phase,
    Reading,
    Reply,
)
from motet_benchmarks.statistics import Interval, percentiles

#: The first part of the swaps, in which caches fill and the server takes what it then keeps. A leak goes on after it.
WARMING = 0.5
#: Stretches of swaps whose means the line is drawn through: readings near each other are no separate evidence.
BLOCKS = 10
FEWEST_BLOCKS = 5
#: In fewer, caches are still being filled.
FEWEST_SWAPS = 100
#: From fewer rounds, the bootstrap's interval is too narrow to judge by.
FEWEST_ROUNDS = 6
#: Requests whose latency counts: probes are there to see, and are alike in both arms.
CLIENTS = (CURRENT, PINNED, BASE)


@dataclass(frozen=True, slots=True)
class Growth:
    """What one more swap adds to the server's memory, in bytes."""

    each: Interval
    swaps: int
    """That were looked at."""

    @property
    def figure(self) -> str:
        """The slope with its interval."""
        return f"{size(self.each.value)} [{size(self.each.low)}, {size(self.each.high)}]"

    @property
    def verdict(self) -> str:
        """Whether the line rises beyond doubt."""
        return "missed" if self.each.low > 0 else "met"


@dataclass(frozen=True, slots=True)
class Latency:
    """One quantile of one figure in both arms, in seconds, and with swaps over without."""

    name: str
    without: Interval
    with_swaps: Interval
    ratio: Interval
    rounds: int

    @property
    def doubt(self) -> str:
        """What is to be said of the intervals, if anything is."""
        return "" if self.rounds >= FEWEST_ROUNDS else "in too few rounds for an interval"


def growth(readings: Sequence[Reading], swaps: int) -> Growth | None:
    """The slope of memory over swaps after the first WARMING part; None if there are too few to tell.

    The line goes through the means of BLOCKS stretches, and the interval is the t distribution's.
    """
    import numpy as np
    from scipy import stats

    if swaps < FEWEST_SWAPS:
        return None
    begin = WARMING * swaps
    read = [
        (reading.swaps, reading.memory) for reading in readings if reading.swaps > begin and reading.memory
    ]
    if not read:
        return None
    places, memory = np.array(read, dtype=np.float64).T
    edges = np.linspace(begin, swaps, BLOCKS + 1)
    block = np.clip(np.searchsorted(edges, places, side="left") - 1, 0, BLOCKS - 1)
    used = [number for number in range(BLOCKS) if (block == number).any()]
    if len(used) < FEWEST_BLOCKS:
        return None
    means = [
        (float(places[block == number].mean()), float(memory[block == number].mean())) for number in used
    ]
    line = stats.linregress(*zip(*means, strict=True))
    reach = float(stats.t.ppf(0.975, len(means) - 2)) * float(line.stderr)
    slope = float(line.slope)
    return Growth(Interval(slope, slope - reach, slope + reach), round(swaps - begin))


def rises(readings: Sequence[Reading], phases: Sequence[Phase], swaps: int) -> dict[str, int]:
    """Bytes that memory rose in all phases of each arm together, after the same first part."""
    found = dict.fromkeys((WITHOUT, WITH), 0)
    for phase in phases:
        inside = [
            reading.memory
            for reading in readings
            if reading.memory
            and phase.begun <= reading.moment <= phase.ended
            and reading.swaps > WARMING * swaps
        ]
        if inside:
            found[phase.arm] += inside[-1] - inside[0]
    return found


def latencies(measured: Measured, *, seed: int = 0) -> list[Latency]:
    """p50 and p99 of whole answers and of first tokens, of the clients' requests that began and ended in a phase."""
    found = []
    for name in ("to the first token", "to the whole answer"):
        rounds = _by_round(measured, whole=name.endswith("answer"))
        for percent in (50, 99):
            if rounds:
                found.append(_latency(f"p{percent} {name}", rounds, percent, seed))
    return found


def in_phase(reply: Reply, phases: Sequence[Phase]) -> Phase | None:
    """The phase into which a request falls as a whole."""
    return next((phase for phase in phases if phase.begun <= reply.sent and reply.ended <= phase.ended), None)


def _by_round(measured: Measured, *, whole: bool) -> list[tuple[list[float], list[float]]]:
    """Seconds without and with swaps, of each round that has both."""
    found: dict[int, dict[str, list[float]]] = {}
    for reply in measured.replies:
        phase = in_phase(reply, measured.phases)
        if phase is None or reply.first is None or reply.problem or reply.asked not in CLIENTS:
            continue
        arms = found.setdefault(phase.round, {WITHOUT: [], WITH: []})
        arms[phase.arm].append((reply.ended if whole else reply.first) - reply.sent)
    return [(arms[WITHOUT], arms[WITH]) for arms in found.values() if arms[WITHOUT] and arms[WITH]]


def _latency(
    name: str, rounds: Sequence[tuple[list[float], list[float]]], percent: int, seed: int
) -> Latency:
    without, with_swaps, change = percentiles(rounds, percent, seed=seed)
    return Latency(name, without, with_swaps, change, len(rounds))


def size(count: float) -> str:
    """Bytes in a unit that suits them."""
    unit, name = next(
        ((unit, name) for unit, name in ((2**20, "MiB"), (2**10, "KiB")) if abs(count) >= unit), (1, "B")
    )
    return f"{count / unit:.{0 if unit == 1 else 1}f} {name}"
