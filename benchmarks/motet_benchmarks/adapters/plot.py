"""Three panels: latency in both arms, how long each swap took, memory over the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from motet_benchmarks.adapters.figures import CLIENTS, in_phase
from motet_benchmarks.adapters.outcome import AIM, Outcome
from motet_benchmarks.adapters.samples import ARMS, Measured

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot(measured: Measured, found: Outcome) -> Figure:
    """The picture of a run."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 4), layout="constrained")
    latency, swaps, memory = figure.subplots(1, 3)
    for arm, colour in zip(ARMS, ("C0", "C1"), strict=True):
        seconds = sorted(
            reply.ended - reply.sent
            for reply in measured.replies
            if reply.asked in CLIENTS
            and reply.problem is None
            and (phase := in_phase(reply, measured.phases)) is not None
            and phase.arm == arm
        )
        if seconds:
            latency.plot(
                seconds,
                [(place + 1) / len(seconds) for place in range(len(seconds))],
                label=arm,
                color=colour,
            )
    latency.set_xlabel("seconds to the whole answer")
    latency.set_ylabel("part of the requests")
    latency.axhline(0.99, color="grey", linestyle=":", label="p99")
    latency.set_xlim(left=0)
    latency.legend()
    latency.set_title("Latency")

    heard = [(wait.number, wait.from_published) for wait in found.waits if wait.from_published is not None]
    swaps.plot([number for number, _ in heard], [wait for _, wait in heard], ".", color="C1")
    swaps.axhline(AIM, color="grey", linestyle=":", label=f"aim {AIM:g} s")
    swaps.set_ylim(bottom=0)
    swaps.set_xlabel("swap")
    swaps.set_ylabel("seconds")
    swaps.legend()
    swaps.set_title("Published to the first token")

    seen = [(reading.swaps, reading.memory / 2**20) for reading in measured.readings if reading.memory]
    memory.plot([number for number, _ in seen], [mib for _, mib in seen], ".", color="C0", markersize=3)
    memory.set_xlabel("swaps so far")
    memory.set_ylabel("resident MiB, all processes")
    beside = memory.twinx()
    beside.step(
        [reading.swaps for reading in measured.readings],
        [reading.loaded for reading in measured.readings],
        color="C2",
        alpha=0.5,
    )
    beside.set_ylim(0, found.bound + 1)
    beside.set_ylabel("versions loaded", color="C2")
    memory.set_title("Memory, and what is loaded")
    return figure
