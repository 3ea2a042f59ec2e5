"""Which texts count as refusals."""

from __future__ import annotations

import pytest

from motet_benchmarks.strategies.declined import declined


@pytest.mark.parametrize(
    ("text", "declines"),
    [
        ("I can't help with that.", True),
        ("I\u2019m sorry, but that isn't possible.", True),
        ('  \n"Sorry, no."', True),
        ("AS AN AI, I have no hands.", True),
        ("# Sorry\n", True),
        ("> **I cannot** say.", True),
        ("<think>What is asked?</think>\n\nI won't.", True),
        ("Unfortunately, I can't.", True),
        ("<think>I can't see it. Ah.</think>4", False),
        ("I can't believe how easy: 4", False),
        ("I cannot stress enough that it is 4.", False),
        ("I can't help but smile: 4", False),
        ("Unfortunately, it rained.", False),
        ("As an aide, 4.", False),
        ("", False),
        ("42", False),
        ("I can help: first, sort them.", False),
        ("The answer is 4. I can't say more.", False),
    ],
)
def test_declined(text: str, declines: bool):
    assert declined(text) == declines
