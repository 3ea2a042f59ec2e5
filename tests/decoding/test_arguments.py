"""What travels to the engine, and that no client can write it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from motet_decoding.contrast import Contrast
from motet_decoding.engine.arguments import (
    AMATEUR,
    KEY_PREFIX,
    KEY_VARIABLE,
    Asked,
    Member,
    Mix,
    Reading,
    continued_arguments,
    engine_arguments,
    engine_key,
    ensure_engine_key,
    measure_arguments,
    read_asked,
    read_contrast,
    reading_arguments,
)


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    return ensure_engine_key()


def test_round_trip(key):
    asked = Contrast(strength=0.1, plausibility=0.05, form="ratio", amateur_temperature=0.5)
    assert read_contrast(engine_arguments(asked).extra_args, key) == Mix.of(asked, (AMATEUR,))


@pytest.mark.parametrize("extra", [None, {}, {"contrast": "{}"}, {"motet": "{}"}])
def test_what_a_client_can_write_is_not_read(extra, key):
    assert read_contrast(extra, key) is None


def test_a_contrast_under_another_key_never_passes_for_a_plain_request(key):
    theirs = {f"{KEY_PREFIX}another": Contrast().model_dump_json()}
    with pytest.raises(ValueError, match=f"reserved.*{KEY_VARIABLE}"):
        read_contrast(theirs, key)


def test_a_process_that_was_handed_no_key_says_so(key, monkeypatch):
    assert engine_key() == key
    monkeypatch.delenv(KEY_VARIABLE)
    with pytest.raises(RuntimeError, match=KEY_VARIABLE):
        engine_key()


def test_the_key_stays_within_a_server_and_differs_between_servers(key):
    assert ensure_engine_key() == key
    code = "from motet_decoding.engine.arguments import ensure_engine_key as k; print(k())"
    inherited = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert inherited == key
    other = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={}
    ).stdout
    assert other.strip() != key


def test_contrast_requests_share_prefixes_only_with_their_like():
    one = engine_arguments(Contrast())
    assert one.cache_salt == engine_arguments(Contrast(strength=2.0)).cache_salt
    assert len({one.cache_salt, engine_arguments(Contrast(), "tenant").cache_salt, "tenant", ""}) == 4


def test_a_measurement_joins_what_is_asked_already(key):
    contrast = Contrast(strength=0.25)
    extra = measure_arguments({**engine_arguments(contrast).extra_args, "theirs": 1}, "m")
    assert extra["theirs"] == 1
    assert read_asked(extra, key) == Asked(contrast=Mix.of(contrast, (AMATEUR,)), measure="m")
    assert read_asked(measure_arguments(None, "m"), key) == Asked(measure="m")
    assert read_asked(reading_arguments("m", 7), key) == Asked(reading=Reading(measure="m", tokens=7))


def test_what_cannot_be_a_measurement_is_refused(key):
    with pytest.raises(ValueError, match="at most 64 characters"):
        read_asked(measure_arguments(None, "m" * 65), key)
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        reading_arguments("m", 0)
    with pytest.raises(ValueError, match="reserved"):
        measure_arguments({f"{KEY_PREFIX}another": "{}"}, "m")


def test_who_goes_on_with_an_answer_has_its_members_go_on_too(key):
    members = (Member(), Member(tokens=(1, 2)), Member(tokens=(3,)))
    begun = {**engine_arguments(Mix(), None, members).extra_args, "theirs": 1}
    extra = continued_arguments(begun, [8, 9])
    assert extra is not None
    assert extra["theirs"] == 1
    # A member that reads the answer's own prompt gets it from there.
    assert [member.tokens for member in read_asked(extra, key).members] == [None, (1, 2, 8, 9), (3, 8, 9)]
    assert read_asked(extra, key).contrast == Mix()
    assert [member.tokens for member in read_asked(begun, key).members] == [None, (1, 2), (3,)]
    for plain in (None, {"theirs": 1}):
        assert continued_arguments(plain, [8, 9]) == plain
