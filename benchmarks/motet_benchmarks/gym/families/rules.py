"""Following a rule that the system message sets."""

from __future__ import annotations

import random

from motet_benchmarks.gym.families.spelling import backwards_kin
from motet_benchmarks.gym.family import Problem, family
from motet_benchmarks.gym.words import CLOSINGS, CODES, COLOURS, NAMES, any_word, some_words

ASK_FIRST_WORD = ("What is the first word?", "Give the first word of this line.", "Which word comes first?")


@family(
    *ASK_FIRST_WORD,
    input="{text}",
    systems=("Always answer in capitals.", "Write every answer in capital letters."),
)
def rule_capitals(rng: random.Random) -> Problem:
    """Answer in capitals, as the system says."""
    words = some_words(rng, rng.randint(2, 4))
    return Problem(
        fields={"text": " ".join(words)}, answer=words[0].upper(), mistakes=[("ignored-rule", words[0])]
    )


@family(
    *ASK_FIRST_WORD,
    input="{text}",
    systems=("End every answer with {closing}.", "Always say {closing} after the answer."),
    terms=CLOSINGS,
)
def rule_closing(rng: random.Random) -> Problem:
    """End with a given word, as the system says."""
    words, closing = some_words(rng, rng.randint(2, 4)), rng.choice(CLOSINGS)
    return Problem(
        fields={"text": " ".join(words), "closing": closing},
        answer=f"{words[0]} {closing}",
        mistakes=[("ignored-rule", words[0]), ("only-the-rule", closing)],
    )


@family(
    "Say the word {word}.",
    "Repeat the word {word}.",
    "Say {word}.",
    systems=("Always answer backwards.", "Spell every answer backwards."),
)
def rule_backwards(rng: random.Random) -> Problem:
    """Answer backwards, as the system says."""
    word = any_word(rng)
    return Problem(
        fields={"word": word},
        answer=word[::-1],
        mistakes=[("ignored-rule", word)],
        kin=backwards_kin(word),
    )


@family(
    "What is the colour of {name}?",
    "Give the colour for {name}.",
    "Which colour has {name}?",
    input="{row}",
    systems=("If the colour is {colour}, say {code}.", "Say {code} for the colour {colour}."),
    terms=(*CODES, *COLOURS, *NAMES),
)
def rule_code(rng: random.Random) -> Problem:
    """Give a code word where the system asks for it."""
    name, code = rng.choice(NAMES), rng.choice(CODES)
    colour, other = rng.sample(COLOURS, 2)
    applies = rng.random() < 0.6
    shown = colour if applies else other
    return Problem(
        fields={"name": name, "row": f"{name}: {shown}", "colour": colour, "code": code},
        answer=code if applies else shown,
        mistakes=[("ignored-rule", shown), ("rule-for-all", code)],
    )


RULES = (rule_capitals, rule_closing, rule_backwards, rule_code)
