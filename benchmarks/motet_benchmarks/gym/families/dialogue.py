"""Second turns that lean on the first."""

from __future__ import annotations

import random

from motet_benchmarks.gym.families.arithmetic import LARGEST_FIRST_TERM, NEXT_TERMS
from motet_benchmarks.gym.families.spelling import backwards_kin
from motet_benchmarks.gym.family import Problem, family
from motet_benchmarks.gym.words import COLOURS, NAMES, THINGS, any_word, two_of_different_length


@family(
    "And now add {c} to it.",
    "Now add {c}.",
    "Add {c} to that.",
    history=("What is {a} + {b}?", "{first}"),
)
def then_add(rng: random.Random) -> Problem:
    """Add to the answer of the turn before."""
    a, b, c = rng.randint(2, LARGEST_FIRST_TERM), rng.randint(2, LARGEST_FIRST_TERM), rng.choice(NEXT_TERMS)
    first = a + b
    return Problem(
        fields={"a": a, "b": b, "c": c, "first": first},
        answer=first + c,
        mistakes=[("first-answer", first), ("lost-turn", a + c)],
        steps=[f"{a} + {b} = {first}", f"{first} + {c} = {first + c}"],
        wrong_steps=[f"{a} + {b} = {a}", f"{a} + {c} = {a + c}"],
    )


@family(
    "Which of the two words I gave was longer?",
    "Which of these words is longer?",
    "Give the longer of my two words.",
    history=("Here are two words: {a}, {b}", "I see two words."),
)
def then_longer(rng: random.Random) -> Problem:
    """Say which of the words given before is longer."""
    a, b = two_of_different_length(rng)
    return Problem(
        fields={"a": a, "b": b},
        answer=max(a, b, key=len),
        mistakes=[("repeated-both", f"{a}, {b}")],
        kin=[("then-longer", f"{b} {a}")],
    )


@family(
    "Which colour do I like?",
    "What colour did I say?",
    "Name the colour that I like.",
    history=("I am {name}, I like {colour} and I have a {thing}.", "Hello {name}."),
    terms=(*NAMES, *COLOURS, *THINGS),
)
def then_recall(rng: random.Random) -> Problem:
    """Recall what the user said before."""
    name, colour, thing = rng.choice(NAMES), rng.choice(COLOURS), rng.choice(THINGS)
    return Problem(
        fields={"name": name, "colour": colour, "thing": thing}, answer=colour, mistakes=[("the-name", name)]
    )


@family(
    "Now spell it backwards.",
    "And now backwards.",
    "Reverse the letters of it.",
    history=("Say {word}.", "{word}"),
)
def then_backwards(rng: random.Random) -> Problem:
    """Spell the word of the turn before backwards."""
    word = any_word(rng)
    return Problem(
        fields={"word": word},
        answer=word[::-1],
        mistakes=[("repeated-word", word)],
        kin=backwards_kin(word),
    )


DIALOGUE = (then_add, then_longer, then_recall, then_backwards)
