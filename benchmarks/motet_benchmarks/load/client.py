"""How well the client itself kept the times that it had set: where it didn't, a latency isn't the server's alone."""

from __future__ import annotations

from collections.abc import Sequence

from motet_benchmarks.load.plan import Window
from motet_benchmarks.load.records import Client
from motet_benchmarks.load.samples import Sample

#: A client is too late when its 99th percentile exceeds so many seconds and so large a part of the median latency.
LATE_SECONDS, LATE_PART = 0.01, 0.1


def client_of(
    step: int,
    server: str,
    samples: Sequence[Sample],
    *,
    max_open: int,
    around: Sequence[Sample],
    windows: Sequence[Window],
) -> Client:
    """What the requests of one step say of the client that sent them to `server`.

    Args:
        step: its place.
        server: its name.
        samples: those that were due while it was measured.
        max_open: requests that may have been open at once.
        around: all that the server got, before and after too.
        windows: where the step was measured.
    """
    late = sorted(sample.late for sample in samples)
    p99 = late[int(0.99 * (len(late) - 1))] if late else 0.0
    held = sum(sample.held > 0 for sample in samples)
    usual = sorted(
        sample.seconds if sample.first_token is None else sample.first_token
        for sample in samples
        if sample.answered
    )
    complaint = None
    if held:
        complaint = (
            f"{held} of {len(samples)} requests waited since {max_open} were open: the server falls behind, or "
            "--max-open is too small"
        )
    elif p99 > LATE_SECONDS and (not usual or p99 > LATE_PART * usual[len(usual) // 2]):
        complaint = (
            f"the client couldn't keep up: it turned to requests up to {1000 * p99:.0f} ms late (99th percentile), "
            "which the latencies include"
        )
    return Client(
        step=step,
        server=server,
        late_p99=p99,
        late_most=max(late, default=0.0),
        held=held,
        most_open=_most_open(around, windows),
        complaint=complaint,
    )


def _most_open(samples: Sequence[Sample], windows: Sequence[Window]) -> int:
    """The most of the requests that were open at once while it was measured."""
    most = 0
    for window in windows:
        events: list[tuple[float, int]] = []
        for sample in samples:
            begun = max(window.begin, sample.due + sample.late + sample.held)
            if sample.turn == window.turn and window.begin <= sample.end and begun < window.end:
                events += ((begun, 1), (max(begun, sample.end), -1))
        now = 0
        for _, change in sorted(events):
            now += change
            most = max(most, now)
    return most
