"""What the duels say: ratios of tokens per second with their spread, and each arm's own pace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from motet_benchmarks.statistics import Interval, median, ratio
from motet_benchmarks.voices.duels import DUELS, Sample

#: From fewer rounds the bootstrap's interval is too narrow to judge by.
FEWEST_ROUNDS = 6


@dataclass(frozen=True, slots=True)
class Ratio:
    """How fast the first arm of a duel is, over the second."""

    duel: str
    clients: int
    ratio: Interval
    rounds: int
    least: float
    """Of all rounds."""
    most: float
    aim: float | None

    @property
    def verdict(self) -> str:
        """Against the aim, where there is one."""
        if self.aim is None:
            return ""
        met = "met" if self.ratio.value >= self.aim else "missed"
        if self.rounds < FEWEST_ROUNDS:
            return f"{met}, in too few rounds to be sure"
        sure = self.ratio.low >= self.aim or self.ratio.high < self.aim
        return met if sure else f"{met}, within noise"


@dataclass(frozen=True, slots=True)
class Pace:
    """One arm on this machine."""

    arm: str
    clients: int
    rows: int
    tokens: Interval
    """Per second, over all the sequences that the engine runs."""
    step: Interval
    """Milliseconds from one token of a sequence to its next, prefill and HTTP included."""


def ratios(samples: Sequence[Sample]) -> list[Ratio]:
    """Every duel with as many clients: the median over rounds of the second arm's seconds over the first's."""
    found = []
    for duel in DUELS:
        for clients in dict.fromkeys(sample.clients for sample in samples):
            own = [one for one in samples if one.duel == duel.name and one.clients == clients]
            seconds = {
                first: [one.seconds for one in sorted(own, key=lambda each: each.round) if one.first == first]
                for first in (True, False)
            }
            each = [other / one for one, other in zip(seconds[True], seconds[False], strict=True)]
            found.append(
                Ratio(
                    duel.name,
                    clients,
                    ratio(seconds[False], seconds[True]),
                    len(each),
                    min(each),
                    max(each),
                    duel.aim,
                )
            )
    return found


def paces(samples: Sequence[Sample]) -> list[Pace]:
    """Every arm with as many clients: this machine's own figures, for scale only."""
    found = []
    for arm, clients in dict.fromkeys((sample.arm, sample.clients) for sample in samples):
        own = [sample for sample in samples if (sample.arm, sample.clients) == (arm, clients)]
        rows = own[0].rows
        # All sequences of an arm run at once, so a sequence's share of a block is what it takes over its tokens.
        made = [sample.sequences * sample.tokens for sample in own]
        found.append(
            Pace(
                arm,
                clients,
                rows,
                median([tokens / one.seconds for tokens, one in zip(made, own, strict=True)]),
                median([1000 * one.seconds * rows / tokens for tokens, one in zip(made, own, strict=True)]),
            )
        )
    return found
