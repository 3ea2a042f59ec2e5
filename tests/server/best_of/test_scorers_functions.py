"""Somebody's own Python as a scorer: what may be given, and that nothing it does goes further than an error."""

from __future__ import annotations

import asyncio
import threading

import pytest
from tests.server.best_of.judging import TEXT, candidate

from motet_decoding.best_of.scorer import ScorerError
from motet_decoding.errors import LaunchError
from motet_server.best_of.functions import OwnScorer, load_function
from motet_server.best_of.options import check_scorers

pytestmark = pytest.mark.anyio

TWO = [candidate(0, "one"), candidate(1, "three")]


async def scored(scorer, timeout: float = 60.0) -> list[float]:
    return await OwnScorer("mine", scorer, timeout).score(TEXT, TWO)


def lengths(question, candidates):
    return [len(each.text) for each in candidates]


async def lengths_soon(question, candidates):
    await asyncio.sleep(0)
    return lengths(question, candidates)


class Lengths:
    needs = ("logprobs",)
    alone = True

    async def score(self, question, candidates):
        return lengths(question, candidates)


class PlainLengths:
    def score(self, question, candidates):
        yield from lengths(question, candidates)


@pytest.mark.parametrize(
    "scorer",
    [
        lengths,
        lengths_soon,
        Lengths,
        Lengths(),
        PlainLengths,
        lambda question, given: lengths_soon(question, given),
    ],
)
async def test_functions_objects_and_classes_are_scorers(scorer):
    assert await scored(scorer) == [3.0, 5.0]


async def test_numpys_and_torchs_numbers_and_truth_are_numbers():
    import numpy
    import torch

    assert await scored(lambda question, given: numpy.array([0.5, 2], dtype="float32")) == [0.5, 2.0]
    assert await scored(lambda question, given: torch.tensor([0.5, 2.0])) == [0.5, 2.0]
    assert await scored(lambda question, given: [True, False]) == [1.0, 0.0]


async def test_what_it_needs_is_what_it_says_and_nothing_otherwise():
    said, unsaid = OwnScorer("a", Lengths, 1.0), OwnScorer("b", lengths, 1.0)
    assert (said.needs, said.alone) == ({"logprobs"}, True)
    assert (unsaid.needs, unsaid.alone) == (frozenset(), False)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ([1.0], "must give 2 numbers, one a candidate, and gave only 1"),
        ([1.0, 2.0, 3.0], "gave more"),
        (None, "gave None"),
        (1.0, "gave 1.0"),
        ("12", "gave '12'"),
        ({0: 1.0, 1: 2.0}, "must give 2 numbers"),
        ([1.0, None], "gave None as number 1, which isn't finite"),
        ([1.0, "2"], "gave '2' as number 1"),
        ([float("nan"), 1.0], "gave nan as number 0"),
        ([1.0, float("inf")], "gave inf as number 1"),
        ([1.0, 10**400], "as number 1"),
        ([1.0, [2.0]], "as number 1"),
    ],
)
async def test_anything_but_a_finite_number_each_is_an_error(given, says):
    async def soon(question, candidates):
        return given

    for scorer in (lambda question, candidates: given, soon):
        with pytest.raises(ScorerError, match=r"^mine: ") as error:
            await scored(scorer)
        assert says in str(error.value)


@pytest.mark.parametrize(
    "error",
    [ValueError("bad luck"), StopIteration("bad luck"), SystemExit("bad luck"), TimeoutError("bad luck")],
)
async def test_what_it_raises_is_told_with_its_name(error):
    def fail(question, candidates):
        raise error

    with pytest.raises(ScorerError, match=r"^mine failed: .*bad luck"):
        await scored(fail)


async def test_an_endless_generator_is_read_no_further_than_needed():
    def forever(question, candidates):
        while True:
            yield 1.0

    with pytest.raises(ScorerError, match="gave more"):
        await scored(forever)


async def test_one_that_hangs_is_given_up_and_the_others_go_on():
    release, entered = threading.Event(), threading.Event()

    def hang(question, candidates):
        entered.set()
        release.wait()
        return [0.0, 0.0]

    try:
        with pytest.raises(ScorerError, match=r"mine took more than 0\.05 s \(--scorer-timeout\)"):
            await scored(hang, timeout=0.05)
        assert entered.is_set()
        assert await scored(lengths) == [3.0, 5.0]
    finally:
        release.set()

    async def sleep(question, candidates):
        await asyncio.Event().wait()

    with pytest.raises(ScorerError, match="took more than"):
        await scored(sleep, timeout=0.01)


async def test_hanging_calls_take_a_bounded_number_of_threads_and_give_them_back():
    release, running = threading.Event(), []

    def hang(question, candidates):
        running.append(1)
        release.wait()
        return [0.0, 0.0]

    scorer = OwnScorer("mine", hang, 0.05)
    try:
        ended = await asyncio.gather(*(scorer.score(TEXT, TWO) for _ in range(20)), return_exceptions=True)
        assert all(isinstance(each, ScorerError) for each in ended)
        assert len(running) <= 8
    finally:
        release.set()
    scorer._timeout = 60.0
    assert await scorer.score(TEXT, TWO) == [0.0, 0.0]


async def test_a_file_is_loaded_once_and_anew_when_it_has_changed(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("calls = []\ndef score(question, candidates):\n    return [1.0] * len(candidates)\n")
    first = load_function(f"{file}:score", "--scorer a")
    assert load_function(f"{file}:score", "--scorer b") is first
    file.write_text("def score(question, candidates):\n    return [2.0] * len(candidates)\n")
    assert load_function(f"{file}:score", "--scorer a") is not first


def test_options_are_read_by_name(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(
        "class Mine:\n    async def score(self, question, candidates):\n        return []\n"
    )
    monkeypatch.chdir(tmp_path)
    assert check_scorers(["mine=python:mine.py:Mine", "far=https://example.org:8443/score?x=1"]) == {
        "mine": f"python:{tmp_path}/mine.py:Mine",
        "far": "https://example.org:8443/score?x=1",
    }
    assert check_scorers([]) == {}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["mine"], "must be NAME=URL"),
        (["=http://a"], "must be NAME=URL"),
        (["mine="], "must be NAME=URL"),
        (["Mine=http://a"], "must be NAME=URL"),
        (["a b=http://a"], "must be NAME=URL"),
        (["a:b=http://a"], "must be NAME=URL"),
        (["a=http://a", "a=http://b"], "--scorer a: named twice"),
        (["reward=http://a"], "--scorer reward: a scorer of this name is there already"),
        (["vote=http://a"], "--scorer vote: "),
        (["implicit=http://a"], "--scorer implicit: "),
        (["likelihood=http://a"], "--scorer likelihood: "),
        (["certainty=http://a"], "--scorer certainty: "),
        (["a=ftp://a"], "--scorer a: must be a URL that begins with http"),
        (["a=example.org"], "--scorer a: must be a URL"),
        (["a=http://"], "--scorer a: must be a URL"),
        (["a=http://[::1"], "--scorer a: must be a URL"),
        (["a=http://a:99999"], "--scorer a: must be a URL"),
        (["a=http://us er@a"], "--scorer a: must be a URL"),
        (["a=http://user:secret@a/"], "--scorer a: a password in a URL would be told"),
        (["a=python:score"], "--scorer a: must be python:FILE.py:NAME"),
        (["a=python:mine.py"], "--scorer a: must be python:FILE.py:NAME"),
        (["a=python:/nowhere.py:score"], "--scorer a: /nowhere.py can't be read: No such file"),
        (["a=python:{}/good.py:other"], "defines no other"),
        (["a=python:{}/good.py:NUMBER"], "--scorer a: NUMBER is neither a function nor"),
        (["a=python:{}/good.py:Needy"], "--scorer a: Needy needs ('eyes',); there are logprobs, certainty"),
        (["a=python:{}/good.py:Raising"], "--scorer a: Raising RuntimeError: not today"),
        (["a=python:{}/syntax.py:score"], "--scorer a: syntax.py:2: SyntaxError"),
        (["a=python:{}/raises.py:score"], "--scorer a: raises.py:2: ZeroDivisionError"),
    ],
)
def test_what_can_not_be_a_scorer_is_refused_by_its_option(options, says, tmp_path):
    (tmp_path / "good.py").write_text(
        "NUMBER = 3\n"
        "def score(question, candidates):\n    return []\n"
        "class Needy:\n    needs = ('eyes',)\n    def score(self, question, candidates):\n        return []\n"
        "class Raising:\n    def __init__(self):\n        raise RuntimeError('not today')\n"
    )
    (tmp_path / "syntax.py").write_text("x = 1\ndef score(:\n")
    (tmp_path / "raises.py").write_text("x = 1\ny = x / 0\n")
    with pytest.raises(LaunchError) as refused:
        check_scorers([option.format(tmp_path) for option in options])
    assert says in str(refused.value)
    assert str(refused.value).startswith("--scorer ")
    assert "secret" not in str(refused.value)


def test_a_key_that_no_header_may_hold_is_refused(monkeypatch):
    monkeypatch.setenv("MOTET_SCORER_KEY", "schlüssel\n")
    with pytest.raises(LaunchError, match=r"^MOTET_SCORER_KEY: "):
        check_scorers(["a=http://a"])
