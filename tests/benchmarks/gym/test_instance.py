"""One problem: its messages, its grader, its steps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet_benchmarks.gym import FAMILIES, SHOW_STEPS, Instance, Mistake, Step, Turn

SUM = Instance(
    family="addition",
    key="7 5",
    instruction="What is 7 + 5?",
    answer="12",
    mistakes=(Mistake("copied-operand", "7"), Mistake("one-off", "13")),
    steps=(Step("7 + 3 = 10", True), Step("10 + 2 = 12", True)),
    wrong_steps=(Step("7 + 3 = 11", False), Step("11 + 2 = 13", True)),
)


@pytest.mark.parametrize(
    "text",
    ["12", " 12\n", "12.", "Answer: 12", "Answer: 12.\n", "7 + 3 = 10\nAnswer: 12", "Answer: 3\nAnswer: 12"],
)
def test_outer_blanks_a_full_stop_and_what_precedes_the_answer_do_not_count(text: str) -> None:
    assert SUM.grade(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "13",
        "1 2",
        "12..",
        "12!",
        "012",
        "The answer is 12",
        "12 13",
        "Answer: 12\nAnswer: 13",
        "12Answer: ",
    ],
)
def test_everything_else_is_wrong(text: str) -> None:
    assert not SUM.grade(text)


def test_capitals_count() -> None:
    shouted = Instance("capitals", "cat", "Write cat in capitals.", "CAT", (Mistake("unchanged", "cat"),))
    assert shouted.grade("CAT.")
    assert not shouted.grade("cat")
    assert not shouted.grade("Cat")


@given(st.text(max_size=8), st.sampled_from(["", " ", "\n", "\t "]), st.sampled_from(["", "."]))
def test_the_grader_ignores_what_stands_before_the_answer(reasoning: str, blank: str, stop: str) -> None:
    assert SUM.grade(f"{reasoning}Answer: {blank}12{stop}{blank}")


@given(st.integers())
def test_only_the_number_itself_is_right(number: int) -> None:
    assert SUM.grade(str(number)) == (number == 12)


def test_messages_come_in_order() -> None:
    asked = Instance(
        family="f",
        key="k",
        instruction="And now?",
        answer="a",
        mistakes=(),
        input="one\ntwo",
        system="Be short.",
        history=(Turn("user", "Hello"), Turn("assistant", "Hi")),
    )
    assert asked.messages() == [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi"},
        {"role": "user", "content": "And now?\none\ntwo"},
    ]
    assert SUM.messages() == [{"role": "user", "content": "What is 7 + 5?"}]


def test_stepwise_asks_for_steps_and_answers_with_them() -> None:
    worked = SUM.stepwise()
    assert worked.messages()[-1]["content"] == f"What is 7 + 5? {SHOW_STEPS}"
    assert SUM.target == "12"
    assert worked.target == "7 + 3 = 10\n10 + 2 = 12\nAnswer: 12"
    assert worked.key == SUM.key
    assert worked.stepwise() == worked


def test_wrong_steps_lead_to_the_last_mistake_only() -> None:
    shortcut, slip = SUM.mistakes
    assert SUM.mistaken(slip) == "13"
    assert SUM.stepwise().mistaken(slip) == "7 + 3 = 11\n11 + 2 = 13\nAnswer: 13"
    assert SUM.stepwise().mistaken(shortcut) == "7"


def test_stepwise_needs_steps() -> None:
    silent = Instance("dashes", "cat", "Spell cat with dashes.", "c-a-t", (Mistake("repeated-word", "cat"),))
    with pytest.raises(ValueError, match="'dashes' has no worked steps"):
        silent.stepwise()


def test_problems_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        SUM.answer = "13"  # type: ignore[misc]
    with pytest.raises(TypeError):
        FAMILIES["addition"] = FAMILIES["product"]  # type: ignore[index]
