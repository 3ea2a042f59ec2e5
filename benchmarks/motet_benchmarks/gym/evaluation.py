"""The gym as an evaluation that trainers can end with: held-out problems, exact graders, 95% intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from motet_alignment.data import Message
from motet_alignment.train.estimates import Estimate, proportion
from motet_benchmarks.gym.instance import Instance
from motet_benchmarks.gym.splits import Split, instances
from motet_benchmarks.trials import COUNT

Generate = Callable[[Sequence[Sequence[Message]]], list[str]]


@dataclass(frozen=True, slots=True)
class GymEvaluation:
    """How many of the gym's held-out problems a model answers right, in all and family by family."""

    split: Split = "test"
    count: int = COUNT
    """Different problems of each family, or as many as it has."""
    seed: int = 0

    def evaluate(self, generate: Generate) -> dict[str, Estimate]:
        """Ask all problems with one call of `generate`, which answers each prompt greedily.

        Returns the share that is right, with Wilson's 95% interval: `accuracy` over all families, `worked` over those
        with worked steps when asked to show them, and `family/NAME`. Raises ValueError unless as many answers come
        back as were asked for.
        """
        plain = instances(self.split, count=self.count, seed=self.seed)
        asked = [*plain, *(problem.stepwise() for problem in plain if problem.steps)]
        said = generate([_prompt(problem) for problem in asked])
        if len(said) != len(asked):
            raise ValueError(f"{len(asked)} problems were asked, {len(said)} answers came")
        right = [problem.grade(text) for problem, text in zip(asked, said, strict=True)]
        outcomes = list(zip((problem.family for problem in plain), right, strict=False))
        return {
            "accuracy": _share(right[: len(plain)]),
            "worked": _share(right[len(plain) :]),
            **{
                f"family/{name}": _share([one for family, one in outcomes if family == name])
                for name in dict.fromkeys(problem.family for problem in plain)
            },
        }


def _prompt(problem: Instance) -> tuple[Message, ...]:
    return tuple(Message.model_validate(message) for message in problem.messages())


def _share(right: Sequence[bool]) -> Estimate:
    return proportion(sum(right), len(right))
