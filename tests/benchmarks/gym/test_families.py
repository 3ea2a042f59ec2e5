"""What every family promises, over hundreds of draws each."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motet_benchmarks.gym import FAMILIES, Instance, Mistake

DRAWS = 300
EQUATION = re.compile(r"(-?\d+) ([+*-]) (-?\d+)(?: ([+*-]) (-?\d+))? = (-?\d+)")

STEPWISE = {
    *("addition", "subtraction", "product", "missing-number", "sort-numbers", "sort-words", "count-words"),
    *(
        "count-letters",
        "centimetres",
        "minutes",
        "coins",
        "weekday",
        "month",
        "hour",
        "then-add",
        "next-number",
    ),
}


@pytest.fixture(scope="module")
def drawn() -> Mapping[str, list[Instance]]:
    rng = random.Random(7)
    return {name: [family.draw(rng) for _ in range(DRAWS)] for name, family in FAMILIES.items()}


@pytest.fixture(params=FAMILIES)
def problems(request: pytest.FixtureRequest, drawn: Mapping[str, list[Instance]]) -> list[Instance]:
    return drawn[request.param]


@pytest.fixture(params=sorted(STEPWISE))
def worked(request: pytest.FixtureRequest, drawn: Mapping[str, list[Instance]]) -> list[Instance]:
    return [problem.stepwise() for problem in drawn[request.param]]


def test_there_are_enough_families() -> None:
    assert len(FAMILIES) >= 24
    assert all(name == family.name for name, family in FAMILIES.items())
    assert len({family.title for family in FAMILIES.values()}) == len(FAMILIES)
    assert all(2 <= len(set(family.wordings)) <= 4 for family in FAMILIES.values())


def test_the_target_is_right_and_every_mistake_is_wrong(problems: list[Instance]) -> None:
    for problem in problems:
        assert problem.grade(problem.target)
        assert problem.mistakes
        assert not any(problem.grade(mistake.text) for mistake in problem.mistakes)


def test_a_problem_is_the_same_in_every_wording(drawn: Mapping[str, list[Instance]]) -> None:
    rng = random.Random(8)
    for name, family in FAMILIES.items():
        first = {problem.key: problem for problem in drawn[name]}
        again = [problem for problem in (family.draw(rng) for _ in range(DRAWS)) if problem.key in first]
        for problem in again:
            twin = first[problem.key]
            assert (problem.answer, problem.mistakes, problem.steps, problem.wrong_steps) == (
                *(twin.answer, twin.mistakes, twin.steps, twin.wrong_steps),
            )


def test_all_wordings_are_drawn(problems: list[Instance]) -> None:
    family = FAMILIES[problems[0].family]
    shapes = {
        re.sub(r"\{\w+\}", ".+", re.escape(text).replace(r"\{", "{").replace(r"\}", "}"))
        for text in family.wordings
    }
    for shape in shapes:
        assert any(re.fullmatch(shape, problem.instruction) for problem in problems), shape


def test_prompts_and_answers_are_short(problems: list[Instance]) -> None:
    lengths = [sum(len(message["content"]) for message in problem.messages()) for problem in problems]
    assert max(lengths) + max(len(problem.answer) for problem in problems) <= 200
    assert sum(lengths) / len(lengths) <= 105
    assert not any("{" in message["content"] for problem in problems for message in problem.messages())


def test_no_answer_is_almost_always_right(problems: list[Instance]) -> None:
    (_, most), *_ = Counter(problem.answer for problem in problems).most_common(1)
    assert most <= 0.65 * len(problems)


def test_some_families_have_steps(drawn: Mapping[str, list[Instance]]) -> None:
    for name, problems in drawn.items():
        assert all(
            bool(problem.steps) == bool(problem.wrong_steps) == (name in STEPWISE) for problem in problems
        )


def test_steps_lead_to_the_answer(worked: list[Instance]) -> None:
    for problem in worked:
        assert problem.grade(problem.target)
        assert all(step.right for step in problem.steps)
        assert all("\n" not in step.text for step in (*problem.steps, *problem.wrong_steps))


def test_wrong_steps_go_wrong_once_and_lead_to_a_mistake(worked: list[Instance]) -> None:
    for problem in worked:
        (wrong_at,) = (place for place, step in enumerate(problem.wrong_steps) if not step.right)
        assert problem.wrong_steps[:wrong_at] == problem.steps[:wrong_at]
        assert problem.wrong_steps[wrong_at].text != problem.steps[wrong_at].text
        text = problem.mistaken(problem.mistakes[-1])
        assert text.startswith(problem.wrong_steps[0].text)
        assert not problem.grade(text)


def test_equations_are_true_exactly_where_they_are_marked_right(worked: list[Instance]) -> None:
    for problem in worked:
        for step in (*problem.steps, *problem.wrong_steps):
            if match := EQUATION.fullmatch(step.text):
                assert _holds(match) == step.right, (problem.key, step)


def test_the_last_step_says_what_follows(worked: list[Instance]) -> None:
    for problem in worked:
        for steps, conclusion in (
            (problem.steps, problem.answer),
            (problem.wrong_steps, problem.mistakes[-1].text),
        ):
            assert _conclusion([step.text for step in steps]) == conclusion


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(FAMILIES)), st.integers())
def test_any_seed_gives_a_sound_problem(name: str, seed: int) -> None:
    problem = FAMILIES[name].draw(random.Random(seed))
    assert problem == FAMILIES[name].draw(random.Random(seed))
    assert problem.family == name
    assert problem.grade(problem.target)
    assert all(
        isinstance(mistake, Mistake) and mistake.text != problem.answer for mistake in problem.mistakes
    )


def _conclusion(lines: list[str]) -> str:
    """What the worked lines amount to: an equation's result, a count, or the items in the order taken."""
    if lines[-1].startswith("take"):
        taken = [re.findall("take (.+), left", line)[0] for line in lines]
        return ", ".join([*taken, lines[-1].rpartition("left ")[2]])
    return lines[-1].rpartition("= ")[2] if "=" in lines[-1] else lines[-1].split()[0]


def _holds(match: re.Match[str]) -> bool:
    a, sign, b, second, c, total = match.groups()
    value = _apply(int(a), sign, int(b))
    return (_apply(value, second, int(c)) if second else value) == int(total)


def _apply(a: int, sign: str, b: int) -> int:
    return {"+": a + b, "-": a - b, "*": a * b}[sign]
