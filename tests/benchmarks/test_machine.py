"""What is written down of the machine and the command."""

from __future__ import annotations

import shlex

import pytest

from motet_benchmarks.machine import circumstances, told, without_secrets


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://me:secret@host:8000/v1", "http://***@host:8000/v1"),
        ("https://me:se@cret@host", "https://***@host"),
        ("http://host/v1?api_key=secret&x=1", "http://host/v1?api_key=***&x=1"),
        ("motet=HTTP://secret@host", "motet=HTTP://***@host"),
        ("http://host/a@b", "http://host/a@b"),
        ("--strategies me@version", "--strategies me@version"),
    ],
)
def test_passwords_in_urls_are_not_told(text: str, shown: str):
    assert without_secrets(text) == shown


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (
            "bench strategies --url http://me:s3@host/v1 --run x",
            "bench strategies --url 'http://***@host/v1' --run x",
        ),
        ("--against motet=http://s3@host --tokens 64", "--against 'motet=http://***@host' --tokens 64"),
        ("serve --api-key 's3$b' s3two --port 1", "serve --api-key '***' '***' --port 1"),
        ("serve --api-key=s3 --hf-token s3", "serve '--api-key=***' --hf-token '***'"),
        (
            "--serve-options \"--api-key 's3&c' --seed 1\" --seed 2",
            "--serve-options '--api-key '\"'\"'***'\"'\"' --seed 1' --seed 2",
        ),
        ("'--serve-options=--hf-token s3'", "'--serve-options=--hf-token '\"'\"'***'\"'\"''"),
        ("--serve-options '\"--api-key s3'", "--serve-options '***'"),
        ("bench kernels --all", "bench kernels --all"),
    ],
)
def test_a_command_is_told_without_passwords_and_keys(command: str, said: str):
    assert told(shlex.split(command)) == said
    assert "s3" not in said


def test_circumstances_tell_the_command_so():
    words = ["bench", "strategies", "--url", "http://me:secret@host/v1"]
    assert circumstances(words).command == "motet bench strategies --url 'http://***@host/v1'"
