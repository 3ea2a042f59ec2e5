"""The gym as the trainers' evaluation: what is asked, how it is graded, what comes back."""

from __future__ import annotations

from importlib.metadata import entry_points

import pytest

from motet_benchmarks import gym
from motet_benchmarks.gym.evaluation import GymEvaluation
from motet_benchmarks.statistics import share


def answering(split: str, count: int, say):
    """A model that says `say(problem)`, and the prompts it was asked."""
    plain = gym.instances(split, count=count, seed=0)
    known = {
        tuple((message["role"], message["content"]) for message in one.messages()): one
        for problem in plain
        for one in ([problem, problem.stepwise()] if problem.steps else [problem])
    }
    asked = []

    def generate(prompts):
        found = [known[tuple((message.role, message.content) for message in prompt)] for prompt in prompts]
        asked.extend(found)
        return [say(problem) for problem in found]

    return generate, asked


def test_every_held_out_problem_is_asked_once_and_once_for_its_steps():
    generate, asked = answering("test", 3, lambda problem: problem.target)
    metrics = GymEvaluation(count=3).evaluate(generate)
    assert {gym.split_of(problem) for problem in asked} == {"test"}
    plain = [problem for problem in asked if not problem.worked]
    assert plain == gym.instances("test", count=3, seed=0)
    assert [problem for problem in asked if problem.worked] == [one.stepwise() for one in plain if one.steps]
    assert set(metrics) == {"accuracy", "worked", *(f"family/{name}" for name in gym.FAMILIES)}
    assert {estimate.value for estimate in metrics.values()} == {1.0}


def test_figures_are_those_of_the_grader():
    def say(problem):
        if problem.worked:
            return problem.mistaken(problem.mistakes[0])
        return problem.answer if problem.family in ("addition", "backwards") else problem.mistakes[0].text

    generate, asked = answering("validation", 5, say)
    metrics = GymEvaluation("validation", count=5).evaluate(generate)
    plain = [problem.family in ("addition", "backwards") for problem in asked if not problem.worked]
    expected = share(plain)
    accuracy = metrics["accuracy"]
    assert (accuracy.value, accuracy.low, accuracy.high, accuracy.n) == pytest.approx(
        (expected.value, expected.low, expected.high, expected.of)
    )
    assert metrics["worked"].value == 0.0
    assert metrics["worked"].n == len(asked) - len(plain)
    right = {name.removeprefix("family/") for name, found in metrics.items() if found.value == 1.0}
    assert right == {"addition", "backwards"}
    assert metrics["family/addition"].n == 5


def test_a_model_that_loses_an_answer_is_not_measured():
    with pytest.raises(ValueError, match=r"\d+ problems were asked, 1 answers came"):
        GymEvaluation(count=1).evaluate(lambda prompts: ["12"])


def test_trainers_find_it_by_its_name():
    (entry,) = entry_points(group="motet.evaluations", name="gym")
    assert isinstance(entry.load()(), GymEvaluation)
