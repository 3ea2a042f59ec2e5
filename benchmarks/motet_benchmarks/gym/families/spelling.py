"""Taking words apart letter by letter, and lines word by word."""

from __future__ import annotations

import random

from motet_benchmarks.gym.family import Problem, family
from motet_benchmarks.gym.words import ORDINALS, any_word, some_words


@family(
    "Spell {word} backwards.",
    "Write {word} backwards.",
    "Reverse the letters of {word}.",
)
def backwards(rng: random.Random) -> Problem:
    """Spell a word backwards."""
    word = any_word(rng)
    return Problem(
        fields={"word": word},
        answer=word[::-1],
        mistakes=[("repeated-word", word)],
        kin=backwards_kin(word),
    )


def backwards_kin(word: str) -> list[tuple[str, str]]:
    """The families that spell a word backwards: each tells the others' answer."""
    return [(name, word) for name in ("backwards", "rule-backwards", "then-backwards")]


@family(
    "What is the {ordinal} letter of {word}?",
    "Give the {ordinal} letter of {word}.",
    "Which letter is {ordinal} in {word}?",
    terms=ORDINALS,
)
def nth_letter(rng: random.Random) -> Problem:
    """Give the n-th letter of a word."""
    word = any_word(rng)
    place = rng.randrange(min(len(word), len(ORDINALS)))
    return Problem(
        fields={"ordinal": ORDINALS[place], "word": word},
        answer=word[place],
        mistakes=[("first-letter", word[0]), ("repeated-word", word)],
    )


@family(
    "What is the last word?",
    "Give the last word of this line.",
    "Which word comes last?",
    input="{text}",
)
def last_word(rng: random.Random) -> Problem:
    """Give the last word of a line."""
    words = some_words(rng, rng.randint(2, 5))
    return Problem(fields={"text": " ".join(words)}, answer=words[-1], mistakes=[("first-word", words[0])])


@family(
    "Spell {word} with dashes.",
    "Write {word} with dashes between the letters.",
    "Put a dash between the letters of {word}.",
)
def dashes(rng: random.Random) -> Problem:
    """Put dashes between the letters of a word."""
    word = any_word(rng)
    return Problem(fields={"word": word}, answer="-".join(word), mistakes=[("repeated-word", word)])


SPELLING = (backwards, nth_letter, last_word, dashes)
