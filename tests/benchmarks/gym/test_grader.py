"""The gym's grader as a reward: as the problems themselves grade, by the row's answer."""

from __future__ import annotations

from itertools import islice

import pytest

from motet_alignment.data import Message
from motet_alignment.errors import DataError
from motet_alignment.train.ppo.rewards import Answered
from motet_alignment.train.ppo.rewards.grader import find_grader
from motet_benchmarks.gym.examples import problems, prompt
from motet_benchmarks.gym.grader import GymGrader


def answered(row: dict, answer: str) -> Answered:
    messages = (Message(role="user", content="?"),)
    return Answered(messages, answer, True, row, "prompts.jsonl:7", (1,), (2,))


def test_it_is_installed_and_grades_as_the_problems_do() -> None:
    grader = find_grader("gym", "--reward gym")
    asked = list(islice(problems(seed=1, worked=0.5), 300))
    said = [text for one in asked for text in (one.target, one.mistaken(one.mistakes[0]))]
    graded = grader(
        [
            answered(dict(prompt(one)), text)
            for one, text in zip(sorted(asked * 2, key=asked.index), said, strict=True)
        ]
    )
    assert graded == [1.0, 0.0] * 300


@pytest.mark.parametrize("row", [{}, {"answer": 4}, {"answer": " "}])
def test_a_row_without_an_answer_is_named(row: dict) -> None:
    for judge in (GymGrader().check, GymGrader()):
        with pytest.raises(
            DataError, match=r"prompts\.jsonl:7: the grader gym compares with the column answer"
        ):
            judge([answered({"answer": "4"}, "4"), answered(row, "4")])
