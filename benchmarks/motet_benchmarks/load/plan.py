"""How much load is put on whom, and in which order: steps, and turns that the servers take in alternation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.load.records import Step, Targets

#: Parts in which a ramp is told.
PARTS = 5
#: Turns of each server within a step where several are compared: so often they swap places.
SEGMENTS = 4
NO_TARGETS = Targets()
#: The shortest measured part of a turn, in seconds: too little arrives in less.
SHORTEST = 0.5


@dataclass(frozen=True, slots=True)
class Turn:
    """A stretch of load without a pause, the same for each server.

    Attributes:
        number: which of the run's.
        begin: arrivals a second as the measured part begins, and while the server warms up; None in a closed loop.
        end: and as it ends; they change linearly.
        concurrency: clients of a closed loop, None otherwise.
        warm_up: seconds before the measured part.
        windows: what is measured as which step, in seconds after the warm-up; the parts follow each other.
    """

    number: int
    begin: float | None
    end: float | None
    concurrency: int | None
    warm_up: float
    windows: Mapping[int, tuple[float, float]]

    @property
    def seconds(self) -> float:
        """Of the measured part."""
        return max(end for _, end in self.windows.values())

    def step(self, moment: float) -> int:
        """The step that a moment after the warm-up counts for; the first one's before."""
        return max(
            (step for step, (begin, _) in self.windows.items() if begin <= moment), default=min(self.windows)
        )


@dataclass(frozen=True, slots=True)
class Window:
    """The measured part of a turn that counts for a step."""

    turn: int
    begin: float
    end: float


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured. Raises BenchmarkError for a load that is none."""

    rates: tuple[float, ...] = ()
    """Arrivals a second, a step each."""
    ramp: tuple[float, float] | None = None
    """From which rate to which."""
    concurrency: tuple[int, ...] = ()
    """Clients of a closed loop, a step each."""
    seconds: float = 20.0
    """That each server is measured for in each step, or on the whole ramp."""
    warm_up: float = 3.0
    segments: int = 1
    """Turns of each server within a step."""
    tokens: int = 64
    """The longest answer; with `exact` every one has so many."""
    exact: bool = True
    stream: bool = True
    timeout: float = 60.0
    """Seconds after which a request has failed."""
    max_open: int = 512
    targets: Targets = NO_TARGETS
    seed: int = 0

    def __post_init__(self) -> None:
        told = [
            name
            for name, value in (
                ("--rate", self.rates),
                ("--ramp", self.ramp),
                ("--concurrency", self.concurrency),
            )
            if value
        ]
        if len(told) != 1:
            raise BenchmarkError(
                f"{', '.join(told) or '--rate, --ramp, --concurrency'}: give exactly one of the three"
            )
        for option, value in (
            ("--seconds", self.seconds),
            ("--warm-up", self.warm_up),
            ("--timeout", self.timeout),
        ):
            if not 0 <= value < math.inf:
                raise BenchmarkError(f"{option} {value}: must be seconds, not below zero")
        parts = self.segments * (PARTS if self.ramp else 1)
        if self.seconds / parts < SHORTEST:
            raise BenchmarkError(
                f"--seconds {self.seconds:g}: at least {SHORTEST * parts:g} are needed for {parts} parts"
            )

    @property
    def steps(self) -> tuple[Step, ...]:
        """The loads, in the order that they come in."""
        if self.ramp:
            begin, end = self.ramp
            return tuple(Step(rate=begin + (end - begin) * (part + 0.5) / PARTS) for part in range(PARTS))
        open_loop = [Step(rate=rate) for rate in self.rates]
        return (*open_loop, *(Step(concurrency=clients) for clients in self.concurrency))

    @property
    def step_seconds(self) -> float:
        """That each server is measured for in each step."""
        return self.seconds / PARTS if self.ramp else self.seconds

    def turns(self) -> list[Turn]:
        """Every turn, in order."""
        length = self.seconds / self.segments
        found: list[Turn] = []
        if self.ramp:
            windows = {part: (length * part / PARTS, length * (part + 1) / PARTS) for part in range(PARTS)}
            for _ in range(self.segments):
                found.append(Turn(len(found), *self.ramp, None, self.warm_up, windows))
            return found
        for place, step in enumerate(self.steps):
            for _ in range(self.segments):
                found.append(
                    Turn(
                        len(found),
                        step.rate,
                        step.rate,
                        step.concurrency,
                        self.warm_up,
                        {place: (0.0, length)},
                    )
                )
        return found


def windows(plan: Plan, step: int) -> list[Window]:
    """Where a step was measured."""
    return [Window(turn.number, *turn.windows[step]) for turn in plan.turns() if step in turn.windows]


def rates_of(option: str, text: str) -> tuple[float, ...]:
    """The rates in `text`, each once, rising. Raises BenchmarkError that names `option` unless all are above zero."""
    try:
        found = sorted({float(part) for part in text.split(",") if part.strip()})
    except ValueError:
        found = []
    if not found or found[0] <= 0 or not math.isfinite(found[-1]):
        raise BenchmarkError(f"{option} {text}: must be requests a second with commas between, such as 1,2,4")
    return tuple(found)


def ramp_of(text: str) -> tuple[float, float]:
    """The two rates of FROM:TO. Raises BenchmarkError unless both are above zero."""
    try:
        begin, end = (float(part) for part in text.split(":"))
    except ValueError:
        begin = end = 0.0
    if not (0 < begin < math.inf and 0 < end < math.inf):
        raise BenchmarkError(f"--ramp {text}: must be FROM:TO in requests a second, such as 1:8")
    return begin, end
