"""A model without a chat template that is told to speak ChatML; and the end of a server."""

from __future__ import annotations

import socket

import pytest
from tests.servers import running_server, stop

MESSAGES = [{"role": "user", "content": "Hello"}]


@pytest.mark.engine
@pytest.mark.timeout(900)
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
