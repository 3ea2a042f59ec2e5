"""The request schema: what is taken, what is refused, and by which field's name."""

from __future__ import annotations

import math

import jsonschema
import pytest
from pydantic import ValidationError

from motet_decoding.contrast import MAX_STRENGTH, Contrast, parse_contrast
from motet_decoding.errors import RequestError
from motet_decoding.voices import SequenceVoice

DEFAULTS = Contrast(strength=0.7, plausibility=0.2)


@pytest.mark.parametrize("value", [None, False])
def test_nothing_asked(value):
    assert parse_contrast(value, DEFAULTS) is None


def test_true_takes_the_defaults():
    assert parse_contrast(True, DEFAULTS) == DEFAULTS


def test_an_object_fills_up_from_the_defaults():
    asked = parse_contrast({"strength": 1, "form": "ratio"}, DEFAULTS)
    assert asked == Contrast(strength=1.0, plausibility=0.2, form="ratio")


@pytest.mark.parametrize(
    ("value", "field", "says"),
    [
        ({"strenght": 1}, "contrast.strenght", "unknown key; known are strength, plausibility"),
        ({"strength": "1"}, "contrast.strength", "valid number"),
        ({"strength": True}, "contrast.strength", "valid number"),
        ({"strength": None}, "contrast.strength", "valid number"),
        ({"strength": -0.1}, "contrast.strength", "greater than or equal to 0"),
        ({"strength": MAX_STRENGTH + 1}, "contrast.strength", "less than or equal to 10"),
        ({"strength": math.nan}, "contrast.strength", "finite"),
        ({"strength": math.inf}, "contrast.strength", "finite"),
        ({"plausibility": 1.01}, "contrast.plausibility", "less than or equal to 1"),
        ({"plausibility": -math.inf}, "contrast.plausibility", "finite"),
        ({"amateur_temperature": 0}, "contrast.amateur_temperature", "greater than or equal to 0.05"),
        ({"form": "difference"}, "contrast.form", "'extrapolate' or 'ratio'"),
        ({"against": "expert"}, "contrast.against", 'must be "amateur", "base"'),
        ({"against": {"prompt": [1, -1]}}, "contrast.against.prompt.1", "greater than or equal to 0, got -1"),
        ({"against": {"prompt": [1, "a"]}}, "contrast.against.prompt.1", "valid integer"),
        ({"against": {"prompt": 5}}, "contrast.against.prompt", "a text or a list of tokens"),
        ({"against": {"messages": "hi"}}, "contrast.against.messages", "a list of messages"),
        ({"against": {"messages": [{}, 1]}}, "contrast.against.messages.1", "dictionary"),
        ({"against": [{"voice": {"prompt": [-1]}}]}, "contrast.against.0.voice.prompt.0", "greater than"),
        ({"adapt": {"by": "entropy", "scale": 0}}, "contrast.adapt.scale", "greater than 0"),
        ({"adapt": {"by": "position"}}, "contrast.adapt.tokens", "required"),
        ({"adapt": "mood"}, "contrast.adapt", "'entropy', 'divergence', 'position'"),
        ([], "contrast", "must be an object"),
        ("yes", "contrast", "must be an object"),
        (1, "contrast", "must be an object"),
    ],
)
def test_refused(value, field, says):
    with pytest.raises(RequestError) as caught:
        parse_contrast(value, DEFAULTS)
    assert caught.value.field == field
    assert says in caught.value.message


@pytest.mark.parametrize(("name", "value"), [("prompt", [-1] * 1000), ("messages", [1] * 1000)])
def test_a_long_list_is_read_to_its_first_fault_only(name, value):
    with pytest.raises(ValidationError) as caught:
        SequenceVoice.model_validate({name: value})
    assert caught.value.error_count() <= 2


def test_the_sequences_that_give_an_answer():
    voices = ["amateur", {"layer": 1}, {"prompt": "a"}, {"adapter": None}, {"messages": [{}]}]
    against = [{"voice": voice} for voice in voices]
    several = parse_contrast({"against": [*against, {"voice": {"prompt": "b"}, "weight": 0}]}, DEFAULTS)
    assert several.sequences == 4
    assert several.model_copy(update={"strength": 0.0, "plausibility": 0.0}).sequences == 1
    assert [parse_contrast({"against": one}, DEFAULTS).sequences for one in ("amateur", "base")] == [1, 2]


def test_neutral_is_only_what_changes_nothing():
    assert Contrast(strength=0, plausibility=0).neutral
    assert Contrast(strength=0, plausibility=0, form="ratio").neutral
    assert not Contrast(strength=0, plausibility=0.1).neutral
    assert not Contrast(strength=0.1, plausibility=0).neutral


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"against": "base"},
        {"against": {"adapter": None}},
        {"against": {"prompt": [1, 2]}},
        {"against": {"messages": [{"role": "user", "content": "Hi"}]}},
        {"against": {"layers": "low"}},
        {"against": [{"voice": {"layer": 3}, "weight": -1.0}, {"voice": "base"}]},
        {"adapt": "entropy"},
        {"adapt": {"by": "position", "tokens": 3}},
    ],
)
def test_the_schema_knows_every_shape_that_is_read(value):
    jsonschema.validate(value, Contrast.model_json_schema())
    assert parse_contrast(value, Contrast()) is not None


@pytest.mark.parametrize(
    "value", [{"against": 3}, {"against": {"x": 1}}, {"adapt": "position"}, {"adapt": {}}]
)
def test_the_schema_knows_no_shape_that_is_refused(value):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(value, Contrast.model_json_schema())
    with pytest.raises(RequestError):
        parse_contrast(value, Contrast())
