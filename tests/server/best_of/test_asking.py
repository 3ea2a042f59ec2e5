from __future__ import annotations

from typing import Any

import pytest

from motet_decoding.best_of.request import BestOf
from motet_decoding.errors import RequestError
from motet_server.best_of.asking import take_best_of
from motet_server.settings import ServerSettings

SETTINGS = ServerSettings(max_candidates=16, best_of_by="certainty")


def taken(body: dict[str, Any], route: Any = "chat", preset: BestOf | None = None) -> BestOf | None:
    best_of = take_best_of(body, route, SETTINGS, preset)
    assert "best_of" not in body
    return best_of


@pytest.mark.parametrize("value", [None, False])
def test_none_is_none(value):
    assert taken({"best_of": value}) is None
    assert taken({}) is None


def test_the_servers_scorer_decides_where_none_is_named():
    assert taken({"best_of": {"n": 4}}) == BestOf(n=4, by="certainty")
    assert taken({"best_of": 4}) == BestOf(n=4, by="certainty")
    assert taken({"best_of": {"n": 4, "by": "vote"}}) == BestOf(n=4, by="vote")


def test_an_integer_on_completions_is_openais():
    body = {"best_of": 5, "n": 2}
    assert taken(body, "completions") == BestOf.model_validate({"n": 5, "by": "likelihood", "return": 2})
    assert body["n"] == 2
    assert taken({"best_of": 1}, "completions") is None
    with pytest.raises(RequestError, match="best_of: must be at least n, which is 3"):
        taken({"best_of": 2, "n": 3}, "completions")
    with pytest.raises(RequestError, match="best_of"):
        taken({"best_of": 0}, "completions")


def test_the_choices_returned_become_n():
    body = {"best_of": {"n": 4, "return": 3}}
    taken(body)
    assert body["n"] == 3
    body = {"best_of": 4, "n": 2}
    best_of = taken(body)
    assert best_of is not None
    assert (best_of.return_, body["n"]) == (2, 2)
    with pytest.raises(RequestError) as caught:
        taken({"best_of": {"n": 4}, "n": 2})
    assert caught.value.field == "n"


def test_a_preset_is_overridden_by_the_body_and_switched_off_by_false():
    preset = BestOf(n=8, by="vote")
    assert taken({}, preset=preset) == preset
    assert taken({"best_of": {"n": 2}}, preset=preset) == BestOf(n=2, by="vote")
    assert taken({"best_of": False}, preset=preset) is None
    assert taken({}, preset=BestOf(n=8)) == BestOf(n=8, by="certainty")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"best_of": {"n": 17}}, "best_of.n"),
        ({"best_of": 17}, "best_of"),
        ({"best_of": {"n": 9}, "prompt": ["a", "b"]}, "best_of.n"),
        ({"best_of": {"n": 1}, "prompt": ["a"] * 17}, "prompt"),
        ({"best_of": {"n": 4}, "n": "2"}, "n"),
        ({"best_of": {"n": 4}, "temperature": 0}, "temperature"),
        ({"best_of": {"n": 4}, "top_k": 1}, "top_k"),
        ({"best_of": {"n": 4}, "n": 2.0}, "n"),
        ({"best_of": {"n": 4, "return": 2}, "n": 0}, "n"),
        ({"best_of": {"n": 4}, "add_generation_prompt": False}, "add_generation_prompt"),
        ({"best_of": {"n": 4}, "echo": True, "max_tokens": 0}, "max_tokens"),
        ({"best_of": {"n": 4, "reject": {"at": 4}}, "thinking_token_budget": 0}, "thinking_token_budget"),
        (
            {"best_of": {"n": 4, "steps": {"width": 2}}, "repetition_detection": {"min_count": 2}},
            "repetition_detection",
        ),
        ({"best_of": {"n": 4}, "use_beam_search": True}, "use_beam_search"),
        ({"best_of": {"n": 4, "provisional": True}}, "best_of.provisional"),
        ({"best_of": {"n": 4, "reject": {"at": 4}}, "presence_penalty": 0.5}, "presence_penalty"),
        ({"best_of": {"n": 4, "steps": {"width": 2}}, "bad_words": ["x"]}, "bad_words"),
        (
            {"best_of": {"n": 4, "reject": {"at": 4}}, "response_format": {"type": "json_object"}},
            "response_format",
        ),
        (
            {"best_of": {"n": 4, "reject": {"at": 4}}, "tools": [{}], "tool_choice": "required"},
            "tool_choice",
        ),
    ],
)
def test_what_cant_be_honoured_is_named(body, field):
    with pytest.raises(RequestError) as caught:
        taken(dict(body))
    assert caught.value.field == field


def test_a_preset_that_is_too_much_here_is_the_models_name():
    with pytest.raises(RequestError) as caught:
        taken({}, preset=BestOf(n=64))
    assert caught.value.field == "model"


def test_one_candidate_may_be_greedy_and_whole_answers_may_have_a_grammar():
    assert taken({"best_of": {"n": 1}, "temperature": 0}) is not None
    assert taken({"best_of": {"n": 4}, "response_format": {"type": "json_object"}}) is not None
    assert taken({"best_of": {"n": 4, "reject": {"at": 4}}, "tools": [{}], "tool_choice": "auto"}) is not None
