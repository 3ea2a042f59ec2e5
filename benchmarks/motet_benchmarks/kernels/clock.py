"""Times one call at a time, on a CPU and on a GPU, and the copy that all bytes are compared with."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

import torch

#: How a call is made: as it is; on a GPU, from Python with its launches, or replayed from a CUDA graph.
CALLED, LAUNCHED, GRAPH = "called", "launched", "in a CUDA graph"

#: Seconds of one call.
Timer = Callable[[], float]
#: A copy moves this much, read and write together; no cache holds it.
COPIED = 2 * 2**28
COPIES = 15


class Clock(Protocol):
    """A device's way of timing."""

    def timers(
        self, run: Callable[[], Any], restore: Callable[[], None], uncapturable: str | None = None
    ) -> tuple[dict[str, Timer], dict[str, str]]:
        """A timer for every way of calling ``run``, and the ways in which it can't be called, with the reason.

        Args:
            run: what to time.
            restore: called before each, untimed.
            uncapturable: why no CUDA graph may be made of it, if so.
        """

    def copy_bandwidth(self) -> float:
        """Bytes per second that a copy of a large tensor moves, read and write together."""


class CpuClock:
    """``perf_counter`` around a call. Caches hold what was restored before it, as after a model's last layer."""

    def timers(
        self, run: Callable[[], Any], restore: Callable[[], None], uncapturable: str | None = None
    ) -> tuple[dict[str, Timer], dict[str, str]]:
        """See ``Clock``; there are no graphs."""

        def called() -> float:
            restore()
            begun = time.perf_counter()
            run()
            return time.perf_counter() - begun

        return {CALLED: called}, {}

    def copy_bandwidth(self) -> float:
        """See ``Clock``."""
        source, target = (torch.ones(COPIED // 8) for _ in range(2))
        timers, _ = self.timers(lambda: target.copy_(source), lambda: None)
        return COPIED / _median(timers[CALLED])


class CudaClock:
    """CUDA events around a call, after a write that leaves nothing of the input in the second-level cache."""

    def __init__(self) -> None:
        self._flushed = torch.empty(2**28, dtype=torch.uint8, device="cuda")

    def timers(
        self, run: Callable[[], Any], restore: Callable[[], None], uncapturable: str | None = None
    ) -> tuple[dict[str, Timer], dict[str, str]]:
        """See ``Clock``. Launched: from an idle GPU, so that what Python takes to launch counts."""

        def timer(call: Callable[[], Any], *, idle: bool) -> float:
            restore()
            self._flushed.zero_()
            if idle:
                torch.cuda.synchronize()
            begun, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begun.record()
            call()
            ended.record()
            ended.synchronize()
            return begun.elapsed_time(ended) / 1000

        timers: dict[str, Timer] = {LAUNCHED: lambda: timer(run, idle=True)}
        reason = uncapturable or _wait(run, restore)
        if reason:
            return timers, {GRAPH: reason}
        graph = _capture(run, restore)
        # The flush is still running while the replay is launched, so that only the kernels' own time is seen.
        timers[GRAPH] = lambda: timer(graph.replay, idle=False)
        return timers, {}

    def copy_bandwidth(self) -> float:
        """See ``Clock``."""
        source, target = (torch.ones(COPIED // 8, device="cuda") for _ in range(2))
        timers, _ = self.timers(lambda: target.copy_(source), lambda: None)
        return COPIED / _median(timers[GRAPH])


def first_line(problem: Exception) -> str:
    """Of what an error says; its kind if it says nothing."""
    return (str(problem).strip() or type(problem).__name__).splitlines()[0]


def _wait(run: Callable[[], Any], restore: Callable[[], None]) -> str | None:
    """Why a graph can't hold this: it waits for the GPU. An attempt to capture such a run would spoil what follows."""
    restore()
    torch.cuda.set_sync_debug_mode("error")
    try:
        run()
    except RuntimeError as problem:
        return f"waits for the GPU: {first_line(problem)}"
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return None


def _capture(run: Callable[[], Any], restore: Callable[[], None]) -> torch.cuda.CUDAGraph:
    """Runs a few times beside the main stream first, where libraries allocate and choose what a graph can't."""
    beside = torch.cuda.Stream()
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):
        for _ in range(3):
            restore()
            run()
        restore()
    torch.cuda.current_stream().wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph


def _median(timer: Timer) -> float:
    return sorted(timer() for _ in range(COPIES))[COPIES // 2]
