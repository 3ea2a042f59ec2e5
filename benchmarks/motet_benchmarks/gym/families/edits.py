"""Small changes to words."""

from __future__ import annotations

import random

from motet_benchmarks.gym.family import Problem, family
from motet_benchmarks.gym.words import any_word, some_words


@family(
    "Write {word} in capitals.",
    "Put {word} in capital letters.",
    "Give {word} in capitals.",
)
def capitals(rng: random.Random) -> Problem:
    """Write a word in capitals."""
    word = any_word(rng)
    return Problem(fields={"word": word}, answer=word.upper(), mistakes=[("unchanged", word)])


@family(
    "Remove every {letter} from {word}.",
    "Write {word} without the letter {letter}.",
    "Leave out the letter {letter} in {word}.",
)
def remove_letter(rng: random.Random) -> Problem:
    """Remove one letter from a word."""
    word = any_word(rng)
    letter = rng.choice(word)
    return Problem(
        fields={"word": word, "letter": letter},
        answer=word.replace(letter, ""),
        mistakes=[("unchanged", word), ("the-letter", letter)],
    )


@family(
    "Replace {old} with {new} in {word}.",
    "Write {word} with {new} for {old}.",
    "Change every {old} in {word} to {new}.",
)
def replace_letter(rng: random.Random) -> Problem:
    """Replace one letter of a word."""
    word = any_word(rng)
    old, new = rng.choice(word), rng.choice("abcdefghijklmnopqrstuvwxyz")
    return Problem(
        fields={"word": word, "old": old, "new": new},
        answer=word.replace(old, new),
        mistakes=[("unchanged", word)],
    )


@family(
    "Write {word} twice.",
    "Repeat {word} two times.",
    "Double the word {word}.",
)
def double_word(rng: random.Random) -> Problem:
    """Write a word twice."""
    word = any_word(rng)
    return Problem(fields={"word": word}, answer=f"{word} {word}", mistakes=[("only-once", word)])


@family(
    "Swap the words {a} {b}.",
    "Swap these two words: {a} {b}",
    "Change the places of {a} and {b}.",
)
def swap_words(rng: random.Random) -> Problem:
    """Swap two words."""
    a, b = some_words(rng, 2)
    return Problem(fields={"a": a, "b": b}, answer=f"{b} {a}", mistakes=[("unchanged", f"{a} {b}")])


EDITS = (capitals, remove_letter, replace_letter, double_word, swap_words)
