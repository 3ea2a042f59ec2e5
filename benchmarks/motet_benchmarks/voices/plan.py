"""How much is asked, and of how many clients the serving figures are."""

from __future__ import annotations

from dataclasses import dataclass

from motet_benchmarks import gym
from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.voices.series import SERIES, Series

#: Series on a few families get so many times as many problems of each.
FOCUS = 4


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured."""

    count: int = 8
    """Test problems of each family, asked for the answer alone."""
    tuning: int = 4
    """Validation problems of each family, by which a series' recommendation is chosen."""
    worked: int = 6
    """Test problems of each family that has worked steps, asked to show them."""
    series: tuple[Series, ...] = SERIES
    concurrency: int = 16
    longest: int = 128
    """The longest answer, in tokens."""
    clients: tuple[int, ...] = (1, 4, 16)
    """Who ask at once where speed is measured."""
    tokens: int = 64
    """Of each answer there."""
    rounds: int = 8
    minutes: float = 5.0
    """Speed is measured no longer, but for one round at least: no other is begun that might end later."""
    seed: int = 0

    def problems(self, split: gym.Split, families: tuple[str, ...] | None) -> list[gym.Instance]:
        """A series' problems, asked for the answer alone."""
        count = self.count if split == "test" else self.tuning
        return gym.instances(
            split, count=count if families is None else FOCUS * count, seed=self.seed, families=families
        )

    def stepwise(self) -> list[gym.Instance]:
        """Test problems that ask for their steps, of all families that have any."""
        found = gym.instances("test", count=self.worked, seed=self.seed)
        return [problem.stepwise() for problem in found if problem.steps]


def named_series(names: list[str]) -> tuple[Series, ...]:
    """The series of these names, in their own order. Raises BenchmarkError for one that there isn't."""
    known = {series.name: series for series in SERIES}
    if unknown := [name for name in names if name not in known]:
        raise BenchmarkError(f"--series: unknown {', '.join(unknown)}; known are {', '.join(known)}")
    return tuple(series for name, series in known.items() if name in names)
