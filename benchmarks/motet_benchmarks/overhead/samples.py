"""What is measured: who answers, on what, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from motet_benchmarks.overhead.timing import Timing

#: The arms: who answers, and how.
PAIR_PLAIN = "pair plain"
PAIR_CONTRAST = "pair contrast"
EXPERT_ALONE = "expert alone"
LOOP = "transformers loop"
EXPERT_FORWARD = "expert's forward passes"
AMATEUR_FORWARD = "amateur's forward passes"

#: What they are measured on. Servers: batches on the two servers. Forward: the same batches' decode steps, in nothing
#: but the models. Together: a batch that begins and ends as one, on the server and in the loop. Arriving: requests that
#: come and end at different times, on the server and in the loop.
ALONE, FORWARD, TOGETHER, ARRIVING = "servers", "forward", "together", "arriving"


@dataclass(frozen=True, slots=True)
class Sample:
    """One arm, measured once."""

    workload: str
    arm: str
    batch: int
    round: int
    requests: int
    tokens: int
    seconds: float
    wait: float
    """Mean seconds from a request's arrival to its whole answer."""

    @classmethod
    def of(cls, workload: str, arm: str, batch: int, number: int, timing: Timing) -> Self:
        """What `timing` says of one arm in round `number`."""
        return cls(workload, arm, batch, number, timing.requests, timing.tokens, timing.seconds, timing.wait)

    @property
    def speed(self) -> float:
        """Tokens per second over all requests."""
        return self.tokens / self.seconds


@dataclass(frozen=True, slots=True)
class Abandoned:
    """A round that an error ended: nothing that was measured in it counts, and none is measured in its place."""

    round: int
    reason: str


@dataclass(frozen=True, slots=True)
class Measured:
    """All samples, and whether the two ways to contrast said the same."""

    samples: tuple[Sample, ...]
    rounds: int
    """Whole ones."""
    agreeing: int
    """Answers of the server that equal the loop's, letter for letter."""
    compared: int
    abandoned: tuple[Abandoned, ...] = ()
