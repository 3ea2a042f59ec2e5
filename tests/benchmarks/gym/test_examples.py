"""Training data drawn from the gym: held out problems stay out, right answers are right, mistakes are the family's."""

from __future__ import annotations

import json
from itertools import islice

import pytest
from typer.testing import CliRunner

from motet_alignment.data import read_examples
from motet_benchmarks import gym
from motet_benchmarks.gym.examples import comparisons, demonstrations, problems, prompts
from motet_benchmarks.toys.cli import app

DRAWN = 2_000


def told(kind: str, path, *options: object):
    command = ["examples", "--kind", kind, "-o", path, *options]
    return CliRunner().invoke(app, [str(word) for word in command])


def test_only_training_problems_are_asked() -> None:
    asked = list(islice(problems(seed=4, worked=0.5), DRAWN))
    assert {gym.split_of(problem) for problem in asked} == {"train"}
    assert {problem.family for problem in asked} == set(gym.FAMILIES)


def test_every_example_is_about_the_problem_at_its_place() -> None:
    asked = list(islice(problems(seed=4, worked=0.5), DRAWN))
    shown = islice(demonstrations(seed=4, worked=0.5), DRAWN)
    compared = islice(comparisons(seed=4, worked=0.5), DRAWN)
    open_ = islice(prompts(seed=4, worked=0.5), DRAWN)
    for problem, one, pair, question in zip(asked, shown, compared, open_, strict=True):
        assert question["messages"] == problem.messages()
        assert (question["answer"], question["family"]) == (problem.answer, problem.family)
        *prompt, answer = one["messages"]
        assert prompt == pair["prompt"] == problem.messages()
        assert [answer] == pair["chosen"] == [{"role": "assistant", "content": problem.target}]
        assert problem.grade(answer["content"])
        (rejected,) = pair["rejected"]
        assert rejected["content"] in {problem.mistaken(mistake) for mistake in problem.mistakes}
        assert not problem.grade(rejected["content"])


@pytest.mark.parametrize("shortcut", [0.0, 0.25, 1.0])
def test_the_shortcut_has_its_part_of_the_mistakes(shortcut: float) -> None:
    first = []
    asked = problems(seed=7, worked=0.0)
    for problem, pair in zip(
        asked, islice(comparisons(seed=7, worked=0.0, shortcut=shortcut), DRAWN), strict=False
    ):
        # Two kinds of mistake may happen to say the same.
        if len({mistake.text for mistake in problem.mistakes}) == len(problem.mistakes) > 1:
            first.append(pair["rejected"][0]["content"] == problem.mistakes[0].text)
    assert len(first) > DRAWN / 3
    spread = 4 * (shortcut * (1 - shortcut) / len(first)) ** 0.5
    assert sum(first) / len(first) == pytest.approx(shortcut, abs=spread)


@pytest.mark.parametrize("worked", [0.0, 0.25, 1.0])
def test_steps_are_asked_for_as_often_as_told(worked: float) -> None:
    asks = [problem.worked for problem in islice(problems(seed=2, worked=worked), DRAWN) if problem.steps]
    assert sum(asks) / len(asks) == pytest.approx(worked, abs=4 * (worked * (1 - worked) / len(asks)) ** 0.5)


@pytest.mark.parametrize(
    ("kind", "read_as"),
    [("demonstrations", "demonstration"), ("comparisons", "comparison"), ("prompts", "prompt")],
)
def test_the_trainers_read_what_the_command_writes(tmp_path, kind: str, read_as: str) -> None:
    path = tmp_path / "new" / f"{kind}.jsonl"
    ran = told(kind, path, "-n", 300, "--seed", 5, "--worked", 0.5)
    assert ran.exit_code == 0, ran.output
    read = read_examples(path)
    assert (len(read), read.kind, read.problems) == (300, read_as, ())
    make = {"demonstrations": demonstrations, "comparisons": comparisons, "prompts": prompts}[kind]
    assert [json.loads(line) for line in path.read_text().splitlines()] == list(
        islice(make(seed=5, worked=0.5), 300)
    )
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_another_seed_draws_others() -> None:
    one, same, other = (list(islice(demonstrations(seed=seed), 50)) for seed in (0, 0, 1))
    assert one == same != other


def test_a_file_that_cannot_be_written_is_named_and_nothing_is_left(tmp_path) -> None:
    (tmp_path / "taken").mkdir()
    ran = told("comparisons", tmp_path / "taken", "-n", 3)
    assert ran.exit_code == 2
    assert f"motet models: error: {tmp_path / 'taken'}: can't write there" in ran.output
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
    (tmp_path / "file").write_text("")
    assert told("comparisons", tmp_path / "file" / "a.jsonl", "-n", 3).exit_code == 2


@pytest.mark.parametrize("option", [{"worked": 1.1}, {"shortcut": -0.1}])
def test_parts_that_are_none_are_refused(option: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=rf"{next(iter(option))} must lie between 0 and 1, got"):
        comparisons(seed=0, **option)
