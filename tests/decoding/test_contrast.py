"""The request schema: what is taken, what is refused, and by which field's name."""

from __future__ import annotations

import math

import pytest

from motet_decoding.contrast import MAX_STRENGTH, Contrast, parse_contrast
from motet_decoding.errors import RequestError

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


def test_neutral_is_only_what_changes_nothing():
    assert Contrast(strength=0, plausibility=0).neutral
    assert Contrast(strength=0, plausibility=0, form="ratio").neutral
    assert not Contrast(strength=0, plausibility=0.1).neutral
    assert not Contrast(strength=0.1, plausibility=0).neutral
