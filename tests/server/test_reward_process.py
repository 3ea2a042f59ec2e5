"""Reward models beside the model: what may be named, and what is said when their server doesn't answer."""

from __future__ import annotations

import subprocess
import sys

import pytest

from motet_decoding.errors import LaunchError, RequestError
from motet_server.reward_models import RewardModelError, RewardModels, alive, last_words
from motet_server.reward_process import read_rewards
from motet_server.rewards import RewardBody, conversations_of
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
