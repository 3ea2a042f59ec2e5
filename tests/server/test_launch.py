from __future__ import annotations

import json
import os
import shlex

import pytest

from motet_server.bounds import BAD_WORD_TOKENS
from motet_server.command import split_model
from motet_server.console import start_block
from motet_server.environment import set_environment


@pytest.mark.parametrize(
    ("arguments", "model", "rest"),
    [
        ([], None, []),
        (["m"], "m", []),
        (["m", "--max-model-len", "5"], "m", ["--max-model-len", "5"]),
        (["--max-model-len", "5"], None, ["--max-model-len", "5"]),
        (["-tp", "2"], None, ["-tp", "2"]),
    ],
)
def test_the_model_is_what_stands_first(arguments, model, rest):
    assert split_model(arguments) == (model, rest)


@pytest.fixture
def clean_environment(monkeypatch):
    for name in list(os.environ):
        if name.startswith(("VLLM_", "HF_HUB", "TORCH_CPP", "PYTHONWARNINGS")):
            monkeypatch.delenv(name)
    # So that what the code sets itself is taken back too.
    monkeypatch.setattr(os, "environ", dict(os.environ))
    return monkeypatch


def test_what_the_user_has_set_is_kept(clean_environment):
    os.environ.update(VLLM_CPU_KVCACHE_SPACE="7", VLLM_LOGGING_LEVEL="DEBUG", HF_HUB_OFFLINE="0")
    set_environment(offline=True, verbose=False, max_choices=5)
    assert [
        os.environ[name] for name in ("VLLM_CPU_KVCACHE_SPACE", "VLLM_LOGGING_LEVEL", "HF_HUB_OFFLINE")
    ] == [
        "7",
        "DEBUG",
        "0",
    ]


def test_modest_defaults_stand_where_the_user_said_nothing(clean_environment):
    set_environment(offline=False, verbose=False, max_choices=5)
    assert os.environ["VLLM_CPU_KVCACHE_SPACE"] == "1"
    assert os.environ["VLLM_NO_USAGE_STATS"] == "1"
    assert "HF_HUB_OFFLINE" not in os.environ
    assert os.environ["VLLM_MAX_N_SEQUENCES"] == os.environ["VLLM_MAX_COMPLETION_PROMPTS"] == "5"
    assert os.environ["VLLM_MAX_BAD_WORDS_TOTAL_TOKENS"] == str(BAD_WORD_TOKENS)


@pytest.mark.parametrize(
    ("before", "after"), [("", ["", "motet"]), ("a,b", ["a", "b", "motet"]), ("motet", ["motet"])]
)
def test_our_routes_join_the_users_own_choice_of_plugins(clean_environment, before, after):
    os.environ["VLLM_PLUGINS"] = before
    set_environment(offline=False, verbose=False, max_choices=5)
    assert os.environ["VLLM_PLUGINS"].split(",") == after


def test_naming_our_routes_shuts_out_no_other_plugin(clean_environment, tmp_path):
    information = tmp_path / "guest-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: guest\nVersion: 1\n")
    (information / "entry_points.txt").write_text(
        "[vllm.platform_plugins]\nguest = guest:register\n\n[vllm.endpoint_plugins]\nunasked = guest:routes\n"
    )
    clean_environment.syspath_prepend(tmp_path)
    set_environment(offline=False, verbose=False, max_choices=5)
    names = os.environ["VLLM_PLUGINS"].split(",")
    assert {"guest", "motet"} <= set(names)
    assert "unasked" not in names  # routes of others stay a choice of the user's, as in vLLM itself


def block(**changes):
    settings = {
        "version": "1",
        "model": "toy",
        "source": "bundled",
        "amateur": "small",
        "address": "http://127.0.0.1:8000",
        "presets": ["contrast"],
        "voices": "up to 4 a request: prompts",
        "key": False,
    }
    return "\n".join(start_block(**{**settings, **changes}))


def test_the_printed_curl_survives_a_shell_whatever_the_models_name():
    text = block(model='it\'s a "toy"')
    words = shlex.split(text[text.index("curl ") :])
    assert json.loads(words[words.index("-d") + 1])["model"] == 'it\'s a "toy"'
    assert words[1] == "http://127.0.0.1:8000/v1/chat/completions"


def test_the_block_offers_contrast_only_where_there_is_an_amateur():
    assert '"contrast": true' in block()
    alone = block(amateur=None, presets=[])
    assert '"contrast"' not in alone
    assert "--amateur MODEL" in alone


def test_the_block_says_what_voices_there_are():
    assert "voices   up to 4 a request: prompts\n" in block()


def test_the_block_says_where_the_amateur_shortens_the_context():
    assert "128 tokens, all that the amateur reads" in block(shortened=128)
    assert "tokens" not in block()


def test_the_block_says_which_revision_of_the_amateur_was_named():
    assert "amateur  small  (v2)\n" in block(revision="v2")
    assert "amateur  small\n" in block()


def test_the_block_says_that_a_key_is_needed():
    assert "Authorization" in block(key=True)
    assert "Authorization" not in block()
