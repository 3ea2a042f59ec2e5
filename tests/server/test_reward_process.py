"""Reward models beside the model: what may be named, and what is said when their server doesn't answer."""

from __future__ import annotations

import subprocess
import sys

import httpx
import pytest

from motet_decoding.errors import LaunchError, RequestError
from motet_server.reward_models import RewardModelError, RewardModels, alive, last_words
from motet_server.reward_process import read_rewards
from motet_server.rewards import RewardBody, conversations_of
from motet_server.scores import ScoreError
from motet_server.settings import RewardModel

TURN = {"role": "user", "content": "Hi"}


def test_names_and_checkpoints_are_read(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    assert read_rewards([f"kind={tmp_path}", "hub=org/model"]) == {"kind": str(tmp_path), "hub": "org/model"}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["helpful"], "must be NAME=MODEL"),
        (["=org/model"], "must be NAME=MODEL"),
        (["a="], "must be NAME=MODEL"),
        (["a b=org/model"], "must be NAME=MODEL"),
        (["a=org/model", "a=org/other"], "named twice"),
        (["a=/nowhere/at/all"], "doesn't exist"),
        (["a=."], "no config.json"),
    ],
)
def test_what_cannot_be_a_reward_model_is_refused_by_its_option(options, says):
    with pytest.raises(LaunchError, match=says) as refused:
        read_rewards(options)
    assert str(refused.value).startswith("--reward ")


def dead(log: str = "/nowhere") -> RewardModel:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return RewardModel(name="a", model="m", url="http://127.0.0.1:9", key="k", process=process.pid, log=log)


@pytest.mark.anyio
async def test_a_server_that_ends_at_its_start_is_told_with_its_last_error(tmp_path):
    (tmp_path / "log").write_text("loading\nValueError: no such architecture\nbye\n")
    with pytest.raises(RuntimeError, match="--reward a: m can't be served: ValueError: no such architecture"):
        await RewardModels([dead(str(tmp_path / "log"))]).ready()


@pytest.mark.anyio
async def test_a_server_that_has_ended_is_a_503():
    with pytest.raises(RewardModelError, match="has ended; restart") as error:
        await RewardModels([dead()]).score("a", [[TURN]], "messages")
    assert error.value.status == 503


@pytest.mark.anyio
async def test_a_reward_that_is_no_number_names_its_conversation():
    def answer(request: httpx.Request) -> httpx.Response:
        probability = b"NaN" if b"bad" in request.content else b"0.5"
        return httpx.Response(
            200, content=b'{"data": [{"probs": [%s]}], "usage": {"prompt_tokens": 3}}' % probability
        )

    models = RewardModels([dead()])
    models._clients["a"] = httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="http://a")
    (good,) = await models.score("a", [[TURN]], "messages")
    assert (good.reward, good.tokens) == (0.5, 3)
    with pytest.raises(ScoreError, match="isn't finite") as error:
        await models.score("a", [[TURN], [{"role": "user", "content": "bad"}]], "conversations")
    assert error.value.field == "conversations.1"


_CHILD = """
import time
from motet_server import launch_private, reward_process
launch_private.parse_options = lambda arguments, defaults: None
launch_private.serve = lambda options: (print("serves", flush=True), time.sleep(600))
import os
reward_process.main(os.getppid(), [])
"""
_PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], start_new_session=True)
print(child.pid, flush=True)
child.wait()
"""


def test_a_reward_models_server_ends_with_one_that_is_killed():
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT, _CHILD], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert parent.stdout.readline() == "serves\n"
        assert alive(child)
        parent.kill()
        assert parent.stdout.read() == ""  # the pipe is the child's too, and ends with it


def test_a_process_is_alive_until_it_is_reaped():
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert alive(process.pid)
    process.communicate(b"\n")
    assert not alive(process.pid)
    assert "/nowhere" in last_words("/nowhere")


def test_one_conversation_or_several_but_not_both_and_not_too_many():
    assert conversations_of(RewardBody(model="a", messages=[TURN]), 1) == ("messages", [[TURN]])
    assert conversations_of(RewardBody(model="a", conversations=[[TURN]] * 2), 2)[0] == "conversations"
    for body, field in (
        ({}, "conversations"),
        ({"messages": [TURN], "conversations": [[TURN]]}, "conversations"),
        ({"messages": []}, "messages"),
        ({"conversations": [[TURN]] * 3}, "conversations"),
        ({"conversations": [[TURN], []]}, "conversations.1"),
    ):
        with pytest.raises(RequestError) as error:
            conversations_of(RewardBody(model="a", **body), 2)
        assert error.value.field == field
