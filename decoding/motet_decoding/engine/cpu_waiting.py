"""How vLLM's processes wait for each other where the model runs on the same cores as everything else.

vLLM's engine core and worker talk through shared memory, and whoever waits there spins on ``sched_yield`` for up to a
second. On a GPU machine that wins microseconds. On a laptop the spinning process takes a core from the HTTP server and
from the model: with two cores the whole server was seen to answer at a fraction of its speed, and to leave clients
without an answer for seconds. Here a process still spins through the short waits between two steps of the engine, and
sleeps in small pieces through the long ones, which is how long the model takes.

Reaches into vLLM's private parts; seen with vLLM 0.32.0.
"""

from __future__ import annotations

import time
from typing import Any

#: How long to spin, in seconds: longer than the engine's own work between two forward passes.
SPIN_SECONDS = 2e-4
#: One piece of sleep, in seconds; the kernel's timer adds about as much.
SLEEP_SECONDS = 5e-5


def wait_gently() -> None:
    """Replaces the wait of vLLM's shared-memory readers in this process. Re-entrant."""
    from vllm.distributed.device_communicators.shm_broadcast import SpinCondition

    if SpinCondition.wait.__module__ == __name__:
        return
    spin_or_park = SpinCondition.wait

    def wait(self: Any, timeout_ms: int | None = None) -> None:
        """Spins, then sleeps in small pieces, then (vLLM's own part) parks until it is notified."""
        if SPIN_SECONDS < time.monotonic() - self.last_read <= self.busy_loop_s:
            time.sleep(SLEEP_SECONDS)
        else:
            spin_or_park(self, timeout_ms)

    SpinCondition.wait = wait
