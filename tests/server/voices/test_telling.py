"""What answers and metrics say of a contrast's voices."""

from __future__ import annotations

from typing import Any

import pytest

from motet_decoding.contrast import Contrast, parse_contrast
from motet_server.voices.telling import kind_of, told_of

SECRET = "What the client wrote"


def against(value: Any) -> Contrast:
    contrast = parse_contrast({"against": value}, Contrast())
    assert contrast is not None
    return contrast


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("amateur", "amateur"),
        ("base", "base"),
        ({"adapter": None}, "base"),
        ({"adapter": "a"}, "adapter"),
        ({"adapter": "a", "prompt": "b"}, "prompt"),
        ({"messages": [{"role": "user"}]}, "messages"),
        ({"layer": 3}, "layer"),
        ({"layers": "low"}, "layers"),
        ([{"voice": "base"}], "base"),
        ([{"voice": "base"}, {"voice": {"adapter": "a"}}], "several"),
    ],
)
def test_metrics_know_a_voice_by_its_kind_alone(value, kind):
    assert kind_of(against(value)) == kind


def test_an_answer_names_versions_and_lengths_and_repeats_no_text():
    contrast = against(
        [
            {"voice": {"adapter": "a", "prompt": SECRET}, "weight": -2.0},
            {"voice": {"messages": [{"role": "user", "content": SECRET}]}},
            {"voice": {"layers": "high"}, "weight": 0.5},
        ]
    )
    told = told_of(contrast, {0: "a@0123"}, {0: 12, 1: 31})
    assert told["against"] == [
        {"voice": {"adapter": "a@0123", "prompt_tokens": 12}, "weight": -2.0},
        {"voice": {"prompt_tokens": 31}, "weight": 1.0},
        {"voice": {"layers": "high"}, "weight": 0.5},
    ]
    assert SECRET not in str(told)
    assert {**told, "against": "amateur"} == Contrast().model_dump()


@pytest.mark.parametrize("value", ["amateur", "base", {"layer": 2}, {"adapter": None}])
def test_what_names_no_version_and_no_text_is_told_as_it_was_asked_for(value):
    assert told_of(against(value), {}, {}) == against(value).model_dump()
