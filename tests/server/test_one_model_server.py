"""A real server with one model that has no chat template, as it refuses and as it is told to speak ChatML."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator

import openai
import pytest

from .conftest import Models, Server, environment, running_server, stop

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

MESSAGES = [{"role": "user", "content": "Hello"}]


@pytest.fixture(scope="module")
def server(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    arguments = [str(models.untemplated), "--served-model-name", "toy", "--max-model-len", "256"]
    yield from running_server(arguments, tmp_path_factory.mktemp("log") / "one.log")


def test_there_are_no_presets_and_the_block_says_why(server):
    assert [card.id for card in server.client().models.list()] == ["toy"]
    assert "contrast needs --amateur MODEL" in server.output


@pytest.mark.parametrize("contrast", [True, {"strength": 0.0, "plausibility": 0.0}])
def test_a_contrast_with_no_amateur_is_refused(server, contrast):
    with pytest.raises(openai.BadRequestError) as refused:
        server.client().completions.create(model="toy", prompt="a", extra_body={"contrast": contrast})
    assert refused.value.param == "contrast.against"
    assert "--amateur" in str(refused.value)


def test_messages_for_a_model_without_a_chat_template_are_refused_saying_which_option_helps(server):
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError) as refused:
            server.client().chat.completions.create(model="toy", messages=MESSAGES, stream=stream)
        assert refused.value.param == "messages"
        assert "--default-chat-template chatml" in str(refused.value)


def test_completions_work_all_the_same(server):
    answer = server.client().completions.create(model="toy", prompt="a", max_tokens=3, extra_body={"ignore_eos": True})
    assert answer.usage.completion_tokens == 3
    assert "motet" not in (answer.model_extra or {})


def test_a_second_server_on_the_same_port_says_so_before_it_loads_anything(server, models):
    port = server.url.rpartition(":")[2]
    command = [sys.executable, "-m", "motet_server", "serve", str(models.untemplated), "--port", port]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment(), check=False)
    assert done.returncode == 2
    assert f"port {port} on 127.0.0.1 is in use" in done.stderr
    server.client().models.list()


def test_told_to_speak_chatml_it_chats_and_ctrl_c_ends_it_cleanly(models, tmp_path):
    arguments = [str(models.untemplated), "--served-model-name", "toy", "--max-model-len", "256"]
    arguments += ["--default-chat-template", "chatml"]
    for server in running_server(arguments, tmp_path / "chatml.log"):
        options = {"max_tokens": 3, "extra_body": {"ignore_eos": True, "return_prompt_text": True}}
        answer = server.client().chat.completions.create(model="toy", messages=MESSAGES, **options)
        prompt = answer.model_extra["prompt_text"]
        assert prompt == "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n"
        assert stop(server.process) == 0
        assert "Traceback" not in server.output
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", int(server.url.rpartition(":")[2]))) != 0
