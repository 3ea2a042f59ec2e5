"""The gym's exact grader as a reward: right or not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from motet_alignment.errors import DataError
from motet_benchmarks.gym.instance import is_right

if TYPE_CHECKING:
    from motet_alignment.train.ppo.rewards import Answered
    from motet_alignment.train.ppo.rollout import Prompt


class GymGrader:
    """1 where an answer is right and 0 where it isn't, by the column `answer` of the prompt's row."""

    def __call__(self, answered: Sequence[Answered]) -> list[float]:
        """1.0 or 0.0 for each answer. Raises DataError naming the row that has no `answer`."""
        return [float(is_right(one.answer, _reference(one))) for one in answered]

    def check(self, prompts: Sequence[Prompt]) -> None:
        """Raises DataError naming the first prompt whose row has no `answer`."""
        for prompt in prompts:
            _reference(prompt)


def _reference(one: Answered | Prompt) -> str:
    answer = one.row.get("answer")
    if not isinstance(answer, str) or not answer.strip():
        raise DataError(
            f"{one.source}: the grader gym compares with the column answer, which must hold text here"
        )
    return answer
