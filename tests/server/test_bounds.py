from __future__ import annotations

from typing import Any

import pytest

from motet_decoding.errors import RequestError
from motet_server.bounds import MOST_BAD_WORD_BYTES, MOST_ENTRIES, check_amounts

CHOICES = 12


def check(**fields: Any) -> None:
    check_amounts(fields, CHOICES)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"n": CHOICES},
        {"n": 1, "prompt": ["a"] * CHOICES},
        {"n": 4, "prompt": [[1, 2], [3], [4]]},
        {"n": CHOICES, "prompt": [1] * 100},  # the tokens of one prompt
        {"n": CHOICES, "prompt": "a" * 100},
        {"n": 6, "prompt": "a", "prompt_embeds": b"AAAA"},
        {"n": 4, "messages": [[{}], [{}], [{}]]},
        {"n": CHOICES, "messages": [{}] * 100},
        {"n": CHOICES, "messages": [object()] * 100},  # as vLLM reads some
        {"n": None, "seed": 2**63 - 1},
        {
            "n": {},
            "seed": "x",
            "bad_words": [1, None],
            "logit_bias": 5,
            "stop_token_ids": "x" * 1000,
            "prompt": 7,
        },
        {"n": float("inf")},
        {"seed": 2**63 - CHOICES, "n": CHOICES},
        {"bad_words": ["a" * MOST_BAD_WORD_BYTES]},
        *({field: {str(i): 1 for i in range(most)}} for field, most in MOST_ENTRIES.items()),
    ],
    ids=lambda value: f"{value!s:.40}",
)
def test_what_is_within_the_bounds_passes(fields):
    check(**fields)


def test_the_sequences_that_give_one_choice_count_too():
    check_amounts({"n": 4}, CHOICES, sequences=3)
    for fields, sequences, field in (
        ({"n": 5}, 3, "n"),
        ({"prompt": ["a"] * 5}, 3, "prompt"),
        ({}, 13, "contrast.against"),
    ):
        with pytest.raises(RequestError, match=f"of {sequences} sequences each") as refused:
            check_amounts(fields, CHOICES, sequences=sequences)
        assert refused.value.field == field


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"n": CHOICES + 1}, "n"),
        ({"n": f" {CHOICES + 1} "}, "n"),
        ({"n": CHOICES + 1.0}, "n"),
        ({"n": 5, "messages": [[{}], [{}], [{}]]}, "n"),
        ({"n": 5, "prompt": ["a", "b", "c"]}, "n"),
        ({"prompt": ["a"] * (CHOICES + 1)}, "prompt"),
        ({"prompt": [[1]] * (CHOICES + 1)}, "prompt"),
        ({"n": 7, "prompt": "a", "prompt_embeds": b"AAAA"}, "n"),
        ({"prompt_embeds": [b"AAAA"] * (CHOICES + 1)}, "prompt"),
        ({"seed": 2**63 - 1, "n": 2}, "seed"),
        ({"bad_words": ["a" * MOST_BAD_WORD_BYTES, "b"]}, "bad_words"),
        ({"bad_words": ["é" * (MOST_BAD_WORD_BYTES // 2 + 1)]}, "bad_words"),
        (
            {"bad_words": ["\ufdfa" * (MOST_BAD_WORD_BYTES // 30)]},
            "bad_words",
        ),  # 18 characters to a tokenizer
        *(({field: [1] * (most + 1)}, field) for field, most in MOST_ENTRIES.items()),
    ],
    ids=lambda value: f"{value!s:.40}",
)
def test_what_is_beyond_a_bound_is_refused_naming_the_field(fields, field):
    with pytest.raises(RequestError) as refused:
        check(**fields)
    assert refused.value.field == field


def test_the_server_says_how_many_choices_it_gives():
    with pytest.raises(RequestError, match=rf"6 choices for each of 3 prompts.*{CHOICES}.*--max-choices"):
        check(n=6, prompt=["a", "b", "c"])
