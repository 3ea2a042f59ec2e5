from __future__ import annotations

import math

import pytest
import torch

from motet_benchmarks import gym
from motet_benchmarks.toys import Recipe, Size
from motet_benchmarks.toys.answers import LONGEST_ANSWER, answers
from motet_benchmarks.toys.build import make_tokenizer
from motet_benchmarks.toys.pretrain import new_model
from motet_decoding.contrast import Contrast
from motet_decoding.reference import contrast_scores, greedy_tokens

TOKENIZER = make_tokenizer(Recipe())
CONTRAST = Contrast(strength=1.0, plausibility=0.1)
FAMILIES = ["addition", "rule-capitals", "sort-words", "then-recall"]
PROBLEMS = gym.instances("validation", count=2, seed=0, families=FAMILIES)


@pytest.fixture(scope="module")
def pair():
    """Two untrained models of one tokenizer, spread out enough to prefer different tokens."""
    models = []
    for seed, layers in ((1, 2), (2, 1)):
        size = Size(layers=layers, hidden=64, intermediate=64, heads=2, head_size=32, context=512)
        model = new_model(size, TOKENIZER, seed).eval()
        with torch.no_grad():
            for weight in model.parameters():
                weight.mul_(4.0)
        models.append(model)
    return models


@pytest.mark.parametrize("contrast", [None, CONTRAST], ids=["plain", "contrast"])
def test_batched_answers_are_those_of_a_plain_loop(pair, contrast):
    expert, amateur = pair
    found = answers(PROBLEMS, TOKENIZER, expert, amateur=amateur, contrast=contrast, rows=3)
    for problem, text in zip(PROBLEMS, found, strict=True):
        prompt = TOKENIZER.apply_chat_template(
            problem.messages(), add_generation_prompt=True, return_dict=True
        )["input_ids"]
        tokens = greedy_tokens(
            expert,
            amateur,
            prompt,
            contrast,
            LONGEST_ANSWER,
            stop=lambda token: token == TOKENIZER.eos_token_id,
        )
        assert text == TOKENIZER.decode(tokens, skip_special_tokens=True)


def test_contrast_changes_what_is_said(pair):
    expert, amateur = pair
    plain = answers(PROBLEMS, TOKENIZER, expert)
    assert answers(PROBLEMS, TOKENIZER, expert, amateur=amateur, contrast=CONTRAST) != plain
    neutral = Contrast(strength=0.0, plausibility=0.0)
    assert answers(PROBLEMS, TOKENIZER, expert, amateur=amateur, contrast=neutral) == plain


def test_contrast_flips_a_shortcut_by_hand():
    # The expert leans to the shortcut (token 0) and knows the right way (1); the amateur knows the shortcut alone.
    expert = torch.tensor([0.5, 0.4, 0.1]).log()
    amateur = torch.tensor([0.8, 0.1, 0.1]).log()
    scores = contrast_scores(expert, amateur, Contrast(strength=1.0, plausibility=0.5))
    expected = [2 * math.log(0.5) - math.log(0.8), 2 * math.log(0.4) - math.log(0.1), -math.inf]
    assert scores.tolist() == pytest.approx(expected)
    assert int(scores.argmax()) == 1 != int(expert.argmax())


def test_no_right_answer_of_the_gym_is_cut_short():
    asked = [one.stepwise() if one.steps else one for one in gym.instances("train", count=50, seed=1)]
    longest = max(len(TOKENIZER.encode(one.target, add_special_tokens=False)) for one in asked)
    assert longest < LONGEST_ANSWER
