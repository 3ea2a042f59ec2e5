"""A tiny pair with adapters, trained in seconds and too small to learn anything."""

from __future__ import annotations

from dataclasses import replace

import pytest

from motet_benchmarks.toys import Recipe, Training, answers, drawing
from motet_benchmarks.toys.build import build
from motet_benchmarks.toys.evaluate import Outcomes, Results
from motet_benchmarks.toys.record import read
from motet_benchmarks.toys.report import adapt
from motet_benchmarks.toys.settings import AdapterRecipe, Adapting, Own, Size

TINY = Size(layers=1, hidden=32, intermediate=64, heads=1, head_size=32, context=256)
SHORT = Adapting(problems=24, rate=1e-3, worked=0.5, rank=4, batch_tokens=1024)
OWN = Own(problems=12, worked=0.5, each=4, most=2, beginnings=0.0, slips=1)
RECIPE = AdapterRecipe(sft=SHORT, dpo=SHORT, reward=SHORT, judge=SHORT, own=OWN, seeds=(5, 6), judged=(5,))


def _spoken(problems, tokenizer, model, **more):
    """What a model might say that makes mistakes, and now and then says what no data file may hold."""
    ways = (
        lambda problem: problem.target,
        lambda problem: problem.mistaken(problem.mistakes[0]),
        lambda problem: "",
        lambda problem: f" {problem.mistakes[0].text}",
    )
    return [ways[place % 4](problem) for place, problem in enumerate(problems)]


def _drawn(problems, tokenizer, model, *, each, seed):
    """A right answer, the family's shortcut, and what is no answer, to each problem."""
    return [[one.target, one.mistaken(one.mistakes[0]), "", " "][:each] for one in problems]


@pytest.fixture(scope="session")
def pair(tmp_path_factory):
    """A folder with a tiny pair, its record and its adapters, as `motet models build` leaves them."""
    folder = tmp_path_factory.mktemp("models")
    training = Training(steps=2, rows=2)
    made = build(
        Recipe(expert_size=TINY, amateur_size=TINY, expert=training, amateur=training), folder, print
    )
    line = Outcomes(["addition"] * 2, [True, False], [False] * 2, [True] * 2).line()
    measured = Results(1, 0, 0.5, 0.1, (), line, line, {"addition": line})
    said: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(answers, "answers", _spoken)
        patch.setattr(drawing, "drawn", _drawn)
        work = tmp_path_factory.mktemp("work")
        adapt(
            replace(made, measured=measured),
            RECIPE,
            folder,
            folder / "toys.json",
            work,
            count=1,
            say=said.append,
        )
    return folder, read(folder / "toys.json"), said


@pytest.fixture
def spoken():
    """What stands in for the models' answers while the pair's adapters are made."""
    return _spoken
