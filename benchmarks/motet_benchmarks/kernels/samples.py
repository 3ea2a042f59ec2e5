"""What is measured, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from motet_benchmarks.kernels.cases import Case
from motet_benchmarks.kernels.contests import CONTENDERS, MOTET


@dataclass(frozen=True, slots=True)
class Absence:
    """A contender that was not run in a case, or not in one mode."""

    case: Case
    contender: str
    mode: str
    """"" for none at all."""
    reason: str


@dataclass(frozen=True, slots=True)
class Spread:
    """A median with its quartiles."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least one value."""
        import numpy as np

        low, middle, high = np.percentile(values, (25, 50, 75))
        return cls(float(middle), float(low), float(high))


@dataclass(frozen=True, slots=True)
class Line:
    """A case in one mode.

    Attributes:
        case: which.
        mode: how it was called.
        rounds: how often each contender was timed.
        least_bytes: that any implementation must move.
        seconds: of every contender.
        ratios: a rival's time over ours, round by round.
    """

    case: Case
    mode: str
    rounds: int
    least_bytes: int
    seconds: Mapping[str, Spread]
    ratios: Mapping[str, Spread]

    @property
    def bandwidth(self) -> float:
        """Least bytes over our median seconds."""
        return self.least_bytes / self.seconds[MOTET].value


@dataclass(frozen=True, slots=True)
class Measured:
    """Everything so far.

    Attributes:
        lines: in the order of measurement.
        absences: who did not run where, and why.
        left_out: cases that were not measured.
        copy_bandwidth: bytes per second.
    """

    lines: tuple[Line, ...]
    absences: tuple[Absence, ...]
    left_out: int
    copy_bandwidth: float


@dataclass(frozen=True, slots=True)
class Entry:
    """One contender's time in one case and mode, with quartiles: a line of the CSV."""

    job: str
    subject: str
    how: str
    mood: str
    dtype: str
    batch: int
    vocab: int
    mode: str
    least_bytes: int
    contender: str
    rounds: int
    seconds: float
    seconds_low: float
    seconds_high: float


def entries(lines: Sequence[Line]) -> list[Entry]:
    """Every contender of every line."""
    return [
        Entry(
            case.job, case.subject, case.how, case.mood, case.dtype, case.batch, case.vocab, line.mode,
            line.least_bytes, name, line.rounds, *(round(each, 9) for each in (spent.value, spent.low, spent.high)),
        )
        for line in lines
        for case in (line.case,)
        for name, spent in line.seconds.items()
    ]  # fmt: skip


def line(case: Case, mode: str, least_bytes: int, seconds: Mapping[str, Sequence[float]]) -> Line:
    """A case's line from the seconds of each contender, the same rounds for all; ours must be among them."""
    present = [name for name in CONTENDERS if name in seconds]
    ours = seconds[MOTET]
    return Line(
        case,
        mode,
        len(ours),
        least_bytes,
        {name: Spread.of(seconds[name]) for name in present},
        {
            name: Spread.of([one / own for one, own in zip(seconds[name], ours, strict=True)])
            for name in present
            if name != MOTET
        },
    )
