"""Fails loudly when a part of vLLM that the launch leans on has moved."""

from __future__ import annotations

import pytest

from motet_decoding.errors import LaunchError
from motet_server import launch_private

pytestmark = pytest.mark.engine


def test_options_are_read_by_vllm_over_our_defaults(tmp_path):
    options = launch_private.parse_options(
        [str(tmp_path), "--max_model_len", "1k", "-tp", "2"], {"host": "127.0.0.1", "enforce_eager": True}
    )
    assert (options.model_tag, options.max_model_len, options.tensor_parallel_size) == (
        str(tmp_path),
        1000,
        2,
    )
    assert (options.host, options.enforce_eager) == ("127.0.0.1", True)
    options = launch_private.parse_options([str(tmp_path), "--no-enforce-eager"], {"enforce_eager": True})
    assert options.enforce_eager is False


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--gpu-memory-utilisation", "0.5"], "--gpu-memory-utilization"),
        (["--max-model-len", "many"], "max-model-len"),
        (["--enable-auto-tool-choice"], "--tool-call-parser"),
        (
            ["--max-model-len", "64", "late-model"],
            "late-model: not an option; if it is the model, it comes first",
        ),
    ],
)
def test_vllms_complaint_about_an_option_is_passed_on(arguments, told):
    with pytest.raises(LaunchError) as refused:
        launch_private.parse_options(["model", *arguments], {})
    assert told in str(refused.value)


def test_options_the_launch_reads_and_sets_are_vllms():
    options = launch_private.parse_options(["model"], {})
    for name in (
        *(
            "model_tag",
            "model",
            "tokenizer",
            "tokenizer_mode",
            "chat_template",
            "served_model_name",
            "api_key",
        ),
        *("ssl_certfile", "uvicorn_log_level", "use_tqdm_on_load", "hf_overrides", "logits_processors"),
        *("compilation_config", "max_model_len", "enforce_eager"),
    ):
        assert hasattr(options, name), name


@pytest.mark.parametrize(("name", "expected"), [("expert", True), ("untemplated", False)])
def test_a_missing_chat_template_is_noticed(models, name, expected):
    options = launch_private.parse_options([str(getattr(models, name))], {"enforce_eager": True})
    options.model = options.model_tag
    assert launch_private.has_chat_template(options) is expected


def test_options_that_motet_has_others_for_are_vllms():
    assert launch_private.option_defaults(["max_loras", "max_cpu_loras", "default_mm_loras"]) == {
        "max_loras": 1,
        "max_cpu_loras": None,
        "default_mm_loras": None,
    }
    assert 0 < launch_private.gpu_share() < 1
    assert launch_private.parse_options(["model"], {}).lora_modules is None
