"""Slips: right answers with one token that a model might have said instead."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch

from motet_benchmarks import gym
from motet_benchmarks.toys import Recipe, Size, slips
from motet_benchmarks.toys.build import make_tokenizer
from motet_benchmarks.toys.pretrain import new_model

TOKENIZER = make_tokenizer(Recipe())
PROBLEMS = gym.instances("validation", count=2, seed=0, families=["addition", "sort-words", "then-recall"])
END = TOKENIZER.eos_token_id


@pytest.fixture(scope="module")
def model():
    size = Size(layers=2, hidden=64, intermediate=64, heads=2, head_size=32, context=512)
    made = new_model(size, TOKENIZER, 1).eval()
    with torch.no_grad():
        for weight in made.parameters():
            weight.mul_(4.0)
    return made


def test_a_slip_is_the_target_with_another_token_at_its_place(model):
    found = slips.slips(PROBLEMS, TOKENIZER, model, each=5, seed=0, rows=4)
    for problem, ones in zip(PROBLEMS, found, strict=True):
        target = TOKENIZER.encode(problem.target, add_special_tokens=False)
        assert len(ones) == 5
        for slip in ones:
            assert list(slip.right) == target
            assert slip.other[: slip.place] == slip.right[: slip.place]
            if len(slip.other) > slip.place:
                assert slip.other[slip.place] not in (slip.right[slip.place], END)
                assert slip.other[slip.place + 1 :] == slip.right[slip.place + 1 :]


def test_chances_are_those_of_the_model_at_that_place(model, monkeypatch):
    """Whatever else is in the batch, and how long it is."""
    seen = []
    monkeypatch.setattr(slips, "_slips", lambda target, chances, *more: seen.append((target, chances)) or [])
    slips.slips(PROBLEMS, TOKENIZER, model, each=1, seed=0)
    order = sorted(PROBLEMS, key=lambda problem: len(str(problem.messages())))
    for problem, (target, chances) in zip(order, seen, strict=True):
        said = [*problem.messages(), {"role": "assistant", "content": problem.target}]
        text = TOKENIZER.apply_chat_template(said, return_dict=True)["input_ids"]
        # The template writes the end of the turn and a line break behind the answer.
        text = text[:-2]
        assert text[-len(target) :] == target
        with torch.no_grad():
            alone = model(torch.tensor([text])).logits[0].softmax(-1)
        torch.testing.assert_close(chances, alone[-len(target) - 1 : -1], atol=1e-5, rtol=1e-3)


def test_places_and_tokens_are_drawn_by_what_the_model_might_say():
    # Of two tokens, the first is all but sure and the second open; the end has a share of its own.
    chances = torch.tensor([[0.99, 0.01, 0.0, 0.0], [0.15, 0.6, 0.25, 0.0]])
    drawn = slips._slips([0, 2], chances, 20_000, 1, torch.Generator().manual_seed(0))
    places = Counter(slip.place for slip in drawn)
    assert places[0] / 20_000 == pytest.approx(
        math.sqrt(0.01) / (math.sqrt(0.01) + math.sqrt(0.75)), abs=0.01
    )
    assert {slip.other for slip in drawn if slip.place == 0} == {()}
    ends = Counter(slip.other for slip in drawn if slip.place == 1)
    assert set(ends) == {(0,), (0, 0)}
    assert ends[(0,)] / places[1] == pytest.approx(0.6 / 0.75, abs=0.02)
