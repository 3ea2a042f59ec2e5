from __future__ import annotations

import json
from typing import Any

import pytest

from motet_decoding.errors import RequestError
from motet_server.body import MOST_LEVELS, MOST_PARTS, read_body


@pytest.mark.parametrize(
    ("content", "field"),
    [
        (b"", "body"),
        (b'{"a":', "body"),
        (b"\xff\xfe", "body"),
        (b"[]", "body"),
        (b'"text"', "body"),
        (b"null", "body"),
        (b"[" * 200_000, "body"),
        (b"[" * 100_000 + b"]" * 100_000, "body"),
        (b'{"messages": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "body"),
        (b'{"messages": ' + b"[" * MOST_LEVELS + b"]" * MOST_LEVELS + b"}", "messages"),
        (b'{"tools": [' + b"{}," * MOST_PARTS + b"{}]}", "tools"),
        (b'{"a": ' + b"9" * 5000 + b"}", "body"),
        (b'{"contrast": {"strength": NaN}}', "contrast.strength"),
        (b'{"contrast": {"strength": -Infinity}}', "contrast.strength"),
        (b'{"temperature": 1e999}', "temperature"),
        (b'{"logit_bias": {"5": NaN}}', "logit_bias.5"),
        (b'{"prompt": [1, 2, NaN]}', "prompt.2"),
        (b'{"seed": 18446744073709551616}', "seed"),
        ('{"prompt": "é"}'.encode("latin-1"), "body"),
        ('{"prompt": "a"}'.encode("utf-16"), "body"),
        (b'{"prompt": "\xed\xa0\x80"}', "body"),
        (rb'{"prompt": ["a", "b\ud83d"]}', "prompt"),
        (rb'{"prompt": "\uDE00\uD83D"}', "prompt"),
        (rb'{"\ud800": 1}', r"\ud800"),
    ],
    ids=lambda value: f"{value!s:.30}",
)
def test_a_body_that_is_no_object_of_plain_numbers_is_refused(content, field):
    with pytest.raises(RequestError) as refused:
        read_body(content)
    assert refused.value.field == field


def test_whole_characters_are_read_however_they_are_spelt():
    assert read_body(rb'{"prompt": "\ud83d\ude00 \\ud83d"}') == {"prompt": "\U0001f600 \\ud83d"}
    assert read_body('{"prompt": "é"}'.encode("utf-8-sig")) == {"prompt": "é"}


def test_what_a_parser_reads_deeper_than_python_recurses_is_refused(monkeypatch):
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    monkeypatch.setattr(json, "loads", lambda content: {"messages": nested})
    with pytest.raises(RequestError, match="deeper") as refused:
        read_body(b"")
    assert refused.value.field == "messages"


def test_a_body_as_deep_and_broad_as_may_be_is_read():
    deep = b"[" * (MOST_LEVELS - 1) + b"]" * (MOST_LEVELS - 1)
    assert len(read_body(b'{"a": %s, "b": [%s{}]}' % (deep, b"{}," * 10_000))["b"]) == 10_001


def test_a_sound_body_is_read_as_json_reads_it():
    body = {
        "model": "toy",
        "prompt": [[1, 2], [3]],
        "temperature": 0.5,
        "seed": -(2**63),
        "stop": None,
        "stream": True,
    }
    assert read_body(json.dumps(body).encode()) == body
