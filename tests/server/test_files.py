from __future__ import annotations

from pathlib import Path

import pytest

from motet_decoding.errors import LaunchError
from motet_server.files import config_arguments

OWN = {"model", "host", "port", "amateur", "max_body"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "options.yaml"


def test_vllms_options_are_left_for_vllm_to_read(file):
    file.write_text("max-model-len: 64\nserved_model_name: [a, b]\ncompilation-config: {mode: 0}\n")
    assert config_arguments(file, OWN) == ["--config", str(file)]
    assert config_arguments(None, OWN) == []


@pytest.mark.parametrize("key", ["port", "host", "model", "amateur", "max-body", "max_body"])
def test_an_option_of_ours_in_the_file_is_refused_naming_both(file, key):
    file.write_text(f"max-model-len: 64\n{key}: x\n")
    with pytest.raises(LaunchError) as refused:
        config_arguments(file, OWN)
    assert f"options.yaml: {key}: " in str(refused.value)
    assert f"--{key.replace('_', '-')}" in str(refused.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("- port", "options of vLLM's by name"),
        ("", "options of vLLM's by name"),
        ("port: [", "not YAML"),
        ("3: 4", "3: not an option's name"),
        ("a: 1\na: 2", "'a' twice"),
    ],
)
def test_a_file_that_holds_no_options_is_refused_naming_it(file, text, told):
    file.write_text(text)
    with pytest.raises(LaunchError, match=r"options\.yaml") as refused:
        config_arguments(file, OWN)
    assert told in str(refused.value)


def test_a_missing_file_is_named(file):
    with pytest.raises(LaunchError, match=r"options\.yaml"):
        config_arguments(file, OWN)
