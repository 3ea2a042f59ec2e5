"""All verdicts together: what a run has shown."""

from __future__ import annotations

from dataclasses import dataclass

from motet_benchmarks.adapters.answers import Answers, told_apart
from motet_benchmarks.adapters.figures import Growth, Latency, growth, latencies, rises
from motet_benchmarks.adapters.samples import LISTING, Measured
from motet_benchmarks.adapters.verdicts import Fault, Wait, faults, waits

#: Seconds from published to the first token of the new version: the aim.
AIM = 1.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a run."""

    requests: int
    tokens: int
    faults: tuple[Fault, ...]
    waits: tuple[Wait, ...]
    latencies: tuple[Latency, ...]
    growth: Growth | None
    """None where memory couldn't be seen, or not for long enough."""
    rises: dict[str, int]
    """Bytes that memory rose in the phases of each arm."""
    loaded: int
    """The most versions that the engine was seen to hold."""
    bound: int
    """The most that it may."""
    adapter_bytes: int
    told_apart: float
    """The part of the pairs of voices, prompt by prompt, that answer differently."""
    cached: float | None
    """The part of the prompts' tokens that came from the server's prefix cache."""
    stopped: str | None

    @property
    def failed(self) -> int:
        """Requests without a whole answer."""
        return sum(fault.failed for fault in self.faults)

    @property
    def wrong(self) -> int:
        """Requests with an answer that isn't theirs."""
        return len(self.faults) - self.failed

    @property
    def heard(self) -> list[Wait]:
        """The swaps whose new version answered."""
        return [wait for wait in self.waits if wait.from_published is not None]

    @property
    def passed(self) -> bool:
        """Whether everything is right that has to be, however fast or slow the machine is."""
        return (
            not self.faults
            and len(self.heard) == len(self.waits)
            and self.loaded <= self.bound
            and self.stopped is None
        )


def outcome(
    measured: Measured, answers: Answers, *, bound: int, adapter_bytes: int, seed: int = 0
) -> Outcome:
    """All verdicts on a run.

    Args:
        measured: what was seen.
        answers: what each version must say.
        bound: the most versions that the engine may hold.
        adapter_bytes: of one adapter's matrices.
        seed: for the bootstrap.
    """
    swaps = len(measured.swaps) - 1
    return Outcome(
        requests=sum(reply.asked != LISTING for reply in measured.replies),
        tokens=sum(len(reply.tokens) for reply in measured.replies),
        faults=tuple(faults(measured.replies, measured.swaps, answers)),
        waits=tuple(waits(measured.swaps, measured.replies)),
        latencies=tuple(latencies(measured, seed=seed)),
        growth=growth(measured.readings, swaps),
        rises=rises(measured.readings, measured.phases, swaps),
        loaded=max((reading.loaded for reading in measured.readings), default=0),
        bound=bound,
        adapter_bytes=adapter_bytes,
        told_apart=told_apart(answers),
        cached=measured.cached,
        stopped=measured.stopped,
    )
