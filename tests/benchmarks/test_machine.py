"""What is written down of the machine and the command."""

from __future__ import annotations

import pytest

from motet_benchmarks.machine import circumstances, without_secrets


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("http://me:secret@host:8000/v1", "http://***@host:8000/v1"),
        ("https://me:se@cret@host", "https://***@host"),
        ("http://host/v1?api_key=secret&x=1", "http://host/v1?api_key=***&x=1"),
        (
            "motet bench --serve-options '--api-key secret --seed 1'",
            "motet bench --serve-options '--api-key *** --seed 1'",
        ),
        (
            "--against motet=http://secret@host --url http://other",
            "--against motet=http://***@host --url http://other",
        ),
        ("http://host/a@b", "http://host/a@b"),
        ("--strategies me@version", "--strategies me@version"),
    ],
)
def test_passwords_and_keys_are_not_told(text: str, told: str):
    assert without_secrets(text) == told


def test_a_command_is_told_without_them():
    words = ["bench", "strategies", "--url", "http://me:secret@host/v1"]
    assert circumstances(words).command == "motet bench strategies --url http://***@host/v1"
