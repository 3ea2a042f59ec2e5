"""Counting words, letters and one given letter."""

from __future__ import annotations

import random

from motet_benchmarks.gym.family import Problem, family
from motet_benchmarks.gym.words import any_word, some_words

ALWAYS = {1: ("always-one", "1"), 2: ("always-two", "2"), 3: ("always-three", "3"), 4: ("always-four", "4")}


@family(
    "How many words are there?",
    "Count the words.",
    "Give the number of words in this line.",
    input="{text}",
)
def count_words(rng: random.Random) -> Problem:
    """Count the words of a line."""
    words = some_words(rng, rng.randint(2, 7))
    return Problem(
        fields={"text": " ".join(words)},
        answer=len(words),
        mistakes=_counted_wrongly(len(words)),
        steps=[f"{place} {word}" for place, word in enumerate(words, start=1)],
        wrong_steps=_numbered_wrongly(words),
        wrong_at=1,
    )


@family(
    "How many letters does {word} have?",
    "Count the letters of {word}.",
    "Give the number of letters in {word}.",
)
def count_letters(rng: random.Random) -> Problem:
    """Count the letters of a word."""
    word = any_word(rng, longest=8)
    return Problem(
        fields={"word": word},
        answer=len(word),
        mistakes=_counted_wrongly(len(word)),
        steps=[f"{place} {letter}" for place, letter in enumerate(word, start=1)],
        wrong_steps=_numbered_wrongly(word),
        wrong_at=1,
    )


@family(
    "How many times is the letter {letter} in {word}?",
    "Count the letter {letter} in {word}.",
    "How often does {word} have the letter {letter}?",
)
def count_letter(rng: random.Random) -> Problem:
    """Count one letter in a word."""
    word = any_word(rng)
    # Most letters stand in a word once: left to chance, nearly all answers would be 1.
    letter = rng.choice([rng.choice(word), max(word, key=word.count), rng.choice("abdfilmnoprstuv")])
    count = word.count(letter)
    return Problem(
        key=f"{letter} {word}",
        fields={"letter": letter, "word": word},
        answer=count,
        mistakes=[ALWAYS[1] if count != 1 else ALWAYS[2], ("all-letters", len(word))],
    )


def _counted_wrongly(count: int) -> list[tuple[str, object]]:
    return [ALWAYS[3] if count != 3 else ALWAYS[4], ("skipped-one", count - 1)]


def _numbered_wrongly(items: list[str] | str) -> list[str]:
    """Count on, but pass over the second item."""
    return [f"{max(place, 1)} {item}" for place, item in enumerate(items)]


COUNTING = (count_words, count_letters, count_letter)
