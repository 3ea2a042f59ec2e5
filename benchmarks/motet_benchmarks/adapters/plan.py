"""How many swaps, under what load, how fast."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

#: Of the clients' requests; the rest ask for the name.
BASE_SHARE, PINNED_SHARE = 0.15, 0.15
#: Requests for one version choose among so many, the newest.
PINNED_AMONG = 3


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured."""

    swaps: int = 200
    clients: int = 16
    rate: float = 2.0
    """Swaps a second at most; a swap begins when the one before has been seen."""
    seconds: float = 10.0
    """Of a phase without swaps, and of one with swaps where they keep up with the rate."""
    tokens: int = 48
    """Of each answer."""
    prompts: int = 8
    rank: int = 8
    most: int = 8
    """Versions that the server may keep loaded, if it is started here."""
    blocks: int = 256
    """Of the key-value cache of a server that is started here on a CPU, 128 tokens each. The system gives such a cache
    its memory block by block, as it is first written to: a large one would grow all the time."""
    keep: int = 12
    """Versions that stay in the store: it is pruned after each swap, as by somebody who trains all the time."""
    patience: float = 60.0
    """Seconds after which a published version that nobody has seen is given up."""
    seed: int = 0

    @property
    def by_round(self) -> tuple[int, ...]:
        """Swaps of each round, nearly equal."""
        rounds = max(1, ceil(self.swaps / max(1, round(self.seconds * self.rate))))
        return tuple(
            self.swaps * (number + 1) // rounds - self.swaps * number // rounds for number in range(rounds)
        )
