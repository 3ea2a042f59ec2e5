"""Answers drawn many at a time, against what one at a time would give."""

from __future__ import annotations

import pytest
import torch

from motet_benchmarks import gym
from motet_benchmarks.toys import Recipe, Size
from motet_benchmarks.toys.answers import answers
from motet_benchmarks.toys.build import make_tokenizer
from motet_benchmarks.toys.drawing import drawn
from motet_benchmarks.toys.pretrain import new_model

TOKENIZER = make_tokenizer(Recipe())
PROBLEMS = gym.instances("validation", count=2, seed=0, families=["addition", "sort-words", "then-recall"])
SIZE = Size(layers=2, hidden=64, intermediate=64, heads=2, head_size=32, context=512)


@pytest.fixture
def model():
    made = new_model(SIZE, TOKENIZER, 1).eval()
    with torch.no_grad():
        for weight in made.parameters():
            weight.mul_(4.0)
    return made


def ending(model, by: float):
    """The same model, whose logits are so many times as far apart, and that now and then ends its answers."""
    plain = model.forward

    def forward(*args, **kwargs):
        found = plain(*args, **kwargs)
        found.logits = found.logits * by
        # An untrained model would hardly ever end: every seventh of its tokens does it instead.
        best = found.logits[:, -1].argmax(-1)
        found.logits[best % 7 == 0, -1, TOKENIZER.eos_token_id] = 1e6
        return found

    model.forward = forward
    return model


def test_a_model_that_is_sure_says_each_time_what_it_says_greedily(model):
    sure = ending(model, 1e5)
    alone = answers(PROBLEMS, TOKENIZER, sure, rows=1)
    assert len({len(TOKENIZER.encode(text)) for text in alone}) > 3
    found = drawn(PROBLEMS, TOKENIZER, sure, each=3, seed=0, rows=4)
    assert found == [[text] * 3 for text in alone]


def test_draws_are_from_the_whole_distribution(model):
    """First tokens, against the model's own probabilities."""
    (problem,) = PROBLEMS[:1]
    prompt = TOKENIZER.apply_chat_template(
        problem.messages(), add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    with torch.no_grad():
        logits = model(**prompt).logits[0, -1]
    plain, first = model.forward, []

    def forward(*args, **kwargs):
        found = plain(*args, **kwargs)
        if first:
            # The drawn tokens are this call's input; then all end.
            first.append(kwargs["input_ids"][:, 0])
            found.logits[..., TOKENIZER.eos_token_id] = 1e6
        else:
            first.append(None)
        return found

    model.forward = forward
    drawn([problem], TOKENIZER, model, each=4000, seed=0)
    counts = torch.bincount(first[1], minlength=len(logits)) / 4000
    expected = logits.softmax(-1)
    # Half the sum of differences of 4,000 draws from the right distribution; drawn from another it would be far more.
    exact = torch.multinomial(expected, 4000, replacement=True, generator=torch.Generator().manual_seed(1))
    noise = (torch.bincount(exact, minlength=len(logits)) / 4000 - expected).abs().sum()
    assert (counts - expected).abs().sum() < 1.3 * noise


def test_a_seed_draws_the_same_again_and_leaves_everybodys_randomness_alone(model):
    before = torch.random.get_rng_state()
    free = ending(model, 1.0)
    found = [drawn(PROBLEMS, TOKENIZER, free, each=2, seed=seed) for seed in (3, 3, 4)]
    assert found[0] == found[1] != found[2]
    assert torch.equal(before, torch.random.get_rng_state())
