"""What is measured: who answers, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass

#: Who answers: the samplers that training knows, and `generate` as transformers has it.
ENGINE, TRANSFORMERS, GENERATE = "engine", "transformers", "generate"
ARMS = (ENGINE, TRANSFORMERS, GENERATE)
#: Who else can say how likely answers are.
TRAINING = "training"
#: Those that a training may have.
SAMPLERS = (ENGINE, TRANSFORMERS)

#: What they are measured on: one call for a batch of answers, the log-probabilities of these under the reference,
#: loading a version of the policy, an iteration of a training.
ROLLOUTS, REFERENCE, LOADING, LOOP = "rollouts", "reference", "loading", "loop"


@dataclass(frozen=True, slots=True)
class Sample:
    """One arm, measured once."""

    workload: str
    arm: str
    batch: int
    """Prompts at once, of the iteration in the loop; 0 where a version is loaded."""
    round: int
    iteration: int
    """Of the loop; 0 elsewhere."""
    tokens: int
    """Of the answers."""
    longest: int
    """Tokens of the longest answer; 0 in the loop."""
    seconds: float
    """Of the answers, of their log-probabilities, or of loading."""
    other: float = 0.0
    """Seconds of the iteration's other phases."""

    @property
    def speed(self) -> float:
        """Tokens per second."""
        return self.tokens / self.seconds


@dataclass(frozen=True, slots=True)
class Measured:
    """All samples."""

    samples: tuple[Sample, ...]
    rounds: int
    """Whole ones, of rollouts."""
    agreement: float | None = None
    """Mean difference of a token's log-probability between engine and training, in nats; None without a loop."""

    def of(self, workload: str, arm: str, batch: int | None = None) -> list[Sample]:
        """Those of one arm, in the order in which all arms have them."""
        found = [
            sample
            for sample in self.samples
            if (sample.workload, sample.arm) == (workload, arm) and batch in (None, sample.batch)
        ]
        return sorted(found, key=lambda sample: (sample.round, sample.iteration))

    def batches(self) -> list[int]:
        """How many prompts were answered at once."""
        return sorted({sample.batch for sample in self.samples if sample.workload == ROLLOUTS})
