"""Whole-word tokens for the wordings, and only for them."""

from __future__ import annotations

import random
import re

import pytest

import motet_benchmarks.gym as gym
from motet_benchmarks.gym import FAMILIES, vocabulary
from motet_benchmarks.gym.words import COLOURS, MONTHS, NAMES, WEEKDAYS, WORDS, made_up_word

# What stays to be spelled when words, answers and made-up words are taken away: letters and edited words.
EDITED = {
    "capitals",
    "rule-capitals",
    "remove-letter",
    "replace-letter",
    "backwards",
    "rule-backwards",
    "then-backwards",
}


def test_the_public_names() -> None:
    assert gym.__all__ == [
        *("ANSWER", "FAMILIES", "SHOW_STEPS", "Family", "Instance", "Mistake", "Split", "Step", "Turn"),
        *("instances", "split_of", "stream", "vocabulary"),
    ]


def test_it_is_sorted_and_made_of_words() -> None:
    words = vocabulary()
    assert words == sorted(set(words))
    assert all(re.fullmatch("[A-Za-z]{2,}", word) for word in words)
    assert {*WEEKDAYS, *MONTHS, *COLOURS, *NAMES, "odd", "even", "cold", "Answer", "steps"} <= set(words)


def test_no_word_to_be_spelled_is_in_it() -> None:
    known = {word.lower() for word in vocabulary()}
    assert len(set(WORDS)) == len(WORDS) >= 300
    assert all(re.fullmatch("[a-z]{2,5}", word) for word in WORDS)
    assert known.isdisjoint(WORDS)


def test_no_made_up_word_can_be_in_it() -> None:
    shape = re.compile("(?:[bdflmnprstv][aiou]){2,}[bdflmnprstv]?")
    rng = random.Random(0)
    assert all(shape.fullmatch(made_up_word(rng, longest=8)) for _ in range(1000))
    assert not [word for word in vocabulary() if shape.fullmatch(word)]


@pytest.mark.parametrize("name", FAMILIES)
def test_every_other_word_of_a_prompt_is_in_it(name: str) -> None:
    known, rng = {*vocabulary(), *WORDS}, random.Random(2)
    for _ in range(200):
        problem = FAMILIES[name].draw(rng)
        texts = [message["content"] for message in problem.messages()]
        texts += [step.text for step in (*problem.steps, *problem.wrong_steps)]
        texts += [] if name in EDITED else [problem.answer, *(mistake.text for mistake in problem.mistakes)]
        unknown = set(re.findall("[A-Za-z]{2,}", " ".join(texts))) - known
        assert all(re.fullmatch("(?:[bdflmnprstv][aiou]){2,}[bdflmnprstv]?", word) for word in unknown), (
            unknown
        )
