"""What is taken off an answer's reward for its form, whatever it says."""

from __future__ import annotations

from dataclasses import dataclass

from motet_alignment.train.ppo.rollout import Rollout
from motet_alignment.train.ppo.settings import PpoSettings

MISSING_END, LENGTH = "missing_end", "length"


@dataclass(frozen=True, slots=True)
class Penalties:
    """For a missing end and for length."""

    #: For an answer that was cut off before its end.
    missing_end: float = 0.0
    #: For each token beyond `free`.
    length: float = 0.0
    free: int = 0

    @classmethod
    def of(cls, settings: PpoSettings) -> Penalties:
        """What the settings ask for."""
        return cls(settings.missing_end_penalty, settings.length_penalty, settings.length_free)

    def __call__(self, rollout: Rollout) -> dict[str, float]:
        """By name, as numbers of at most 0; only those that there are."""
        found = {}
        if self.missing_end:
            found[MISSING_END] = 0.0 if rollout.ended else -self.missing_end
        if self.length:
            found[LENGTH] = 0.0 - self.length * max(0, len(rollout.ids) - self.free)
        return found
