"""What a contrast asks of voices, held against what a server hears."""

from __future__ import annotations

from typing import Any

import pytest

from motet_decoding.contrast import Contrast, parse_contrast
from motet_decoding.errors import RequestError
from motet_server.voices.checking import check_voices, layers_of, places
from motet_server.voices.settings import VoiceSettings

ALL = VoiceSettings(most=4, no_groups=None, no_layers=None, layers=(0, 1, 2, 3, 4, 5), depth=6)
HALF = ALL.model_copy(update={"layers": (2, 4)})


def against(value: Any) -> Contrast:
    contrast = parse_contrast({"against": value}, Contrast())
    assert contrast is not None
    return contrast


def refusal(value: Any, settings: VoiceSettings = ALL, *, amateur: bool = True) -> RequestError:
    with pytest.raises(RequestError) as refused:
        check_voices(against(value), settings, amateur=amateur)
    return refused.value


@pytest.mark.parametrize(
    "value",
    [
        "amateur",
        "base",
        {"adapter": "tutor"},
        {"adapter": None, "prompt": [1, 2]},
        {"messages": [{"role": "user", "content": "a"}]},
        {"layer": 5},
        {"layers": "low"},
        [{"voice": "base"}, {"voice": {"layer": 0}, "weight": -1.0}, {"voice": "amateur"}],
        [{"voice": {"prompt": "a"}}] * 4 + [{"voice": "amateur"}],
    ],
)
def test_what_a_server_hears_is_let_through(value):
    check_voices(against(value), ALL, amateur=True)


@pytest.mark.parametrize(
    ("value", "field", "words"),
    [
        ([{"voice": "base"}] * 5, "contrast.against", "--max-voices"),
        ({"layer": 6}, "contrast.against.layer", "below 6"),
        ([{"voice": "amateur"}, {"voice": {"layer": 7}}], "contrast.against.1.voice.layer", "below 6"),
    ],
)
def test_more_than_a_server_hears_is_refused(value, field, words):
    error = refusal(value)
    assert error.field == field
    assert words in error.message


def test_an_amateur_among_several_is_named_where_there_is_none():
    error = refusal([{"voice": "base"}, {"voice": "amateur"}], amateur=False)
    assert (error.field, "--amateur" in error.message) == ("contrast.against.1.voice", True)


def test_a_server_without_further_voices_hears_its_amateur():
    alone = ALL.model_copy(update={"most": 0})
    check_voices(against("amateur"), alone, amateur=True)
    for value in ("base", {"layer": 1}):
        assert "--max-voices" in refusal(value, alone).message


def test_why_there_are_no_groups_is_told_and_layers_are_heard_without_them():
    alone = ALL.model_copy(update={"no_groups": "it drafts ahead"})
    for value in ("base", {"adapter": "a"}, {"prompt": "a"}):
        assert "it drafts ahead" in refusal(value, alone).message
    check_voices(against({"layers": "high"}), alone, amateur=False)
    check_voices(against("amateur"), alone, amateur=True)
    deaf = ALL.model_copy(update={"no_layers": "it has no head of its own"})
    assert "no head of its own" in refusal({"layer": 1}, deaf).message
    check_voices(against("base"), deaf, amateur=False)


def test_a_layer_that_the_server_does_not_hear_is_not_left_out_in_silence():
    check_voices(against({"layer": 4}), HALF, amateur=False)
    error = refusal({"layer": 3}, HALF)
    assert error.field == "contrast.against.layer"
    assert error.message == "needs layer 3, and this server hears 2, 4; start it with --layers 2,3,4"
    error = refusal({"layers": "low"}, HALF)
    assert error.field == "contrast.against.layers"
    assert error.message == "needs layers 0, 2, and this server hears 2, 4; start it with --layers 0,2,4"


def test_the_layers_of_a_half_are_those_of_the_served_model():
    low, high = (against({"layers": half}).against for half in ("low", "high"))
    assert layers_of(low, "f", ALL) == (0, 2)
    assert layers_of(high, "f", ALL) == (3, 5)
    assert layers_of(low, "f", ALL.model_copy(update={"tied": True})) == (2,)
    assert layers_of(against({"layer": 5}).against, "f", ALL) == (5,)


def test_a_voice_is_called_what_the_request_calls_it():
    assert [field for field, _ in places(against("base"))] == ["contrast.against"]
    several = against([{"voice": "base"}, {"voice": "amateur", "weight": 2.0}])
    assert [(field, weighted.weight) for field, weighted in places(several)] == [
        ("contrast.against.0.voice", 1.0),
        ("contrast.against.1.voice", 2.0),
    ]
