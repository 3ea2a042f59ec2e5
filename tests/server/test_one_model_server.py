"""A real server with one model, which has no chat template."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import openai
import pytest
from tests.servers import Server, environment, running_server, wait_for

from .conftest import Models

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

MESSAGES = [{"role": "user", "content": "Hello"}]


@pytest.fixture(scope="module")
def server(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    arguments = [str(models.untemplated), "--served-model-name", "toy", "--max-model-len", "256"]
    yield from running_server(arguments, tmp_path_factory.mktemp("log") / "one.log")


def test_there_are_no_presets_and_the_block_says_why(server):
    assert [card.id for card in server.client().models.list()] == ["toy"]
    # Printed once the server answers, so perhaps a moment after the first answer.
    wait_for(lambda: "none (--amateur MODEL)" in server.output)


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
    answer = server.client().completions.create(
        model="toy", prompt="a", max_tokens=3, extra_body={"ignore_eos": True}
    )
    assert answer.usage.completion_tokens == 3
    assert "motet" not in (answer.model_extra or {})


def test_a_second_server_on_the_same_port_says_so_before_it_loads_anything(server, models):
    port = server.url.rpartition(":")[2]
    command = [sys.executable, "-m", "motet_server", "serve", str(models.untemplated), "--port", port]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment(), check=False)
    assert done.returncode == 2
    assert f"port {port} on 127.0.0.1 is in use" in done.stderr
    server.client().models.list()
