"""The gym as a task."""

from __future__ import annotations

from collections.abc import Sequence

from motet_benchmarks import gym
from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.strategies.tasks.task import Problem


class GymTask:
    """Test problems of the gym, asked for the answer alone.

    Args:
        count: problems of each family, or as many as it has.
        seed: chooses them.
        families: all where none are named.

    Raises:
        BenchmarkError: for a family that the gym doesn't have, and where there is none.
    """

    name = "gym"
    metric = "accuracy"
    tokens = 128
    rules = "exact"

    def __init__(self, *, count: int, seed: int, families: Sequence[str] | None = None) -> None:
        try:
            found = gym.instances("test", count=count, seed=seed, families=families)
        except ValueError as problem:
            raise BenchmarkError(f"--{problem}") from None
        if not found:
            raise BenchmarkError("--families: names no family")
        self._instances = {f"{one.family}/{one.key}": one for one in found}
        self.problems = [
            Problem(name, one.family, tuple(one.messages()), one.target)
            for name, one in self._instances.items()
        ]

    def grades(self, problem: Problem) -> bool:
        """All of them."""
        return True

    def grade(self, problem: Problem, text: str) -> float:
        """1 where the text gives just the answer, else 0."""
        return float(self._instances[problem.id].grade(text))
