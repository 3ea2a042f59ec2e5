"""Thoughts aren't what is said."""

from __future__ import annotations

import pytest

from motet_benchmarks.strategies.tasks.spoken import spoken


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("4", "4"),
        ("<think>2 + 2 is 5?\nNo.</think>4", "4"),
        ("2 + 2 is 5?</think>4", "4"),
        ("\n<think>2 + 2 is", ""),
        ("<think></think>", ""),
        ("The mark <think> opens thoughts.", "The mark <think> opens thoughts."),
    ],
)
def test_spoken(text: str, said: str):
    assert spoken(text) == said
