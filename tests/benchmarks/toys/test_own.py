"""What a reward adapter learns from an adapter's own answers."""

from __future__ import annotations

import random

import pytest

from motet_benchmarks import gym
from motet_benchmarks.toys import Recipe
from motet_benchmarks.toys.build import make_tokenizer
from motet_benchmarks.toys.own import beginning, pairs, slip_pairs
from motet_benchmarks.toys.slips import Slip

TOKENIZER = make_tokenizer(Recipe())
SUM, BACKWARDS = (
    gym.instances("train", count=1, seed=0, families=[name])[0] for name in ("addition", "backwards")
)


def said(found):
    return [(one["chosen"][0]["content"], one["rejected"][0]["content"]) for one in found]


def made(problem, texts, *, most=9, beginnings=0.0):
    rng = random.Random(0)
    return pairs([problem], [texts], TOKENIZER, most=most, beginnings=beginnings, rng=rng)


def slipped(problem, *others):
    """What the problem's slips come to, each given as what stands in the place of a part of its target."""
    right = TOKENIZER.encode(problem.target, add_special_tokens=False)
    ones = []
    for old, new in others:
        at = problem.target.rindex(old)
        place = len(TOKENIZER.encode(problem.target[:at], add_special_tokens=False))
        (token,) = TOKENIZER.encode(new, add_special_tokens=False)
        ones.append(Slip(tuple(right), place, (*right[:place], token, *right[place + 1 :])))
    return said(slip_pairs([problem], [ones], TOKENIZER, rng=random.Random(0)))


def test_each_wrong_answer_stands_against_a_right_one():
    right = [SUM.answer, f"{SUM.answer}."]
    found = made(SUM, [*right, "no", "none", "no", "", " \n", "n\0"])
    assert [one["prompt"] for one in found] == [SUM.messages()] * 2
    assert {wrong for _, wrong in said(found)} == {"no", "none"}
    assert {best for best, _ in said(found)} <= set(right)


def test_where_none_was_right_the_gyms_answer_stands_in_and_where_none_was_wrong_nothing_is_learnt():
    assert said(made(SUM, ["no"])) == [(SUM.answer, "no")]
    assert made(SUM, [SUM.answer, f" {SUM.answer}"]) == []


def test_a_problem_gives_no_more_pairs_than_asked_and_the_same_ones_again():
    texts = [f"wrong {place}" for place in range(6)]
    found = made(SUM, texts, most=3)
    assert len({wrong for _, wrong in said(found)}) == 3
    assert made(SUM, texts, most=3) == found


def test_beginnings_come_beside_the_whole_answers():
    worked = SUM.stepwise()
    wrong = worked.mistaken(worked.mistakes[-1])
    whole, begun = sorted(
        said(made(worked, [worked.target, wrong], beginnings=1.0)), key=lambda one: -len(one[0])
    )
    assert whole == (worked.target, wrong)
    assert worked.target.startswith(begun[0])
    assert wrong.startswith(begun[1])
    assert begun[0] != begun[1]


def test_beginnings_are_equally_long_tell_the_answers_apart_and_complete_neither():
    right, wrong = "12 + 34 = 46", "12 + 35 = 47, or so"
    shorter = TOKENIZER.encode(right, add_special_tokens=False)
    rng = random.Random(0)
    found = {beginning(right, wrong, TOKENIZER, rng) for _ in range(200)}
    lengths = {len(TOKENIZER.encode(text, add_special_tokens=False)) for pair in found for text in pair}
    assert len(lengths) == len(found)
    assert max(lengths) < len(shorter)
    assert {pair[0].startswith("12 + 34") and pair[1].startswith("12 + 35") for pair in found} == {True}
    assert {right[: len(pair[0])] == pair[0] and wrong[: len(pair[1])] == pair[1] for pair in found} == {True}


@pytest.mark.parametrize("answers", [("46", "4"), ("46", "47"), ("46", "46, I think")])
def test_answers_that_only_differ_where_one_ends_have_no_beginnings(answers):
    assert beginning(*answers, TOKENIZER, random.Random(0)) is None


def test_a_slip_that_makes_the_answer_wrong_stands_against_the_right_one_once():
    last = SUM.answer[-1]
    other = "7" if last != "7" else "8"
    wrong = SUM.answer[:-1] + other
    assert slipped(SUM, (last, other), (last, other)) == [(SUM.answer, wrong)]
    assert slipped(SUM, (last, ".")) == (
        [] if SUM.grade(SUM.answer[:-1]) else [(SUM.answer, SUM.answer[:-1] + ".")]
    )


def test_a_slip_in_a_step_that_leaves_the_answer_right_makes_a_pair_of_beginnings():
    worked = SUM.stepwise()
    place = worked.target.index("=")
    right = TOKENIZER.encode(worked.target, add_special_tokens=False)
    before = len(TOKENIZER.encode(worked.target[:place], add_special_tokens=False))
    (token,) = TOKENIZER.encode("*", add_special_tokens=False)
    slip = Slip(tuple(right), before, (*right[:before], token, *right[before + 1 :]))
    ((best, wrong),) = said(slip_pairs([worked], [[slip]], TOKENIZER, rng=random.Random(0)))
    assert worked.target.startswith(best)
    assert len(place * " ") < len(best) < len(worked.target)
    assert wrong == best[:place] + "*" + best[place + 1 :]


def test_an_answer_cut_down_to_nothing_is_no_pair():
    right = tuple(TOKENIZER.encode(SUM.answer, add_special_tokens=False))
    assert slip_pairs([SUM], [[Slip(right, 0, ())]], TOKENIZER, rng=random.Random(0)) == []
