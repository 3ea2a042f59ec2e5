from __future__ import annotations

from typing import Any

import pytest

from motet_decoding.best_of.candidate import seed_of
from motet_decoding.best_of.judge import Judge, read_judge
from motet_decoding.best_of.request import BestOf, Reject, parse_best_of
from motet_decoding.errors import RequestError


def test_a_number_is_short_for_that_many_candidates():
    assert parse_best_of(8) == parse_best_of({"n": 8}) == BestOf(n=8)


def test_a_body_says_over_what_the_server_fills_in():
    preset = parse_best_of({"n": 8, "by": "vote", "return": 2})
    asked = parse_best_of({"n": 4}, {"by": "likelihood", **preset.given})
    assert (asked.n, asked.by, asked.return_) == (4, "vote", 2)
    assert parse_best_of({}, {"n": 3}).n == 3


def test_a_checkpoint_doubles_or_is_listed():
    assert Reject(at=4).checkpoints(33) == (4, 8, 16, 32)
    assert Reject(at=(4, 6, 40)).checkpoints(40) == (4, 6)


@pytest.mark.parametrize(
    ("name", "judge"),
    [
        ("reward", Judge(False, "reward")),
        ("reward:tutor@1a2b", Judge(False, "reward:tutor@1a2b")),
        ("likelihood:sum", Judge(False, "likelihood:sum")),
        ("implicit:dpo:sft", Judge(False, "implicit:dpo:sft")),
        ("vote", Judge(True, None)),
        ("vote:reward:tutor", Judge(True, "reward:tutor")),
    ],
)
def test_a_judge_is_a_scorer_a_vote_or_both(name, judge):
    assert read_judge(name) == judge


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (True, "best_of"),
        ("8", "best_of"),
        ([8], "best_of"),
        (0, "best_of.n"),
        (-1, "best_of.n"),
        (10**6, "best_of.n"),
        ({}, "best_of.n"),
        ({"n": 2.5}, "best_of.n"),
        ({"n": "2"}, "best_of.n"),
        ({"n": True}, "best_of.n"),
        ({"n": 2, "return": 3}, "best_of.return"),
        ({"n": 2, "return": 0}, "best_of.return"),
        ({"n": 2, "by": ""}, "best_of.by"),
        ({"n": 2, "by": 3}, "best_of.by"),
        ({"n": 2, "by": "Reward"}, "best_of.by"),
        ({"n": 2, "by": "reward: x"}, "best_of.by"),
        ({"n": 2, "by": "vote:"}, "best_of.by"),
        ({"n": 2, "by": "vote:vote"}, "best_of.by"),
        ({"n": 2, "by": "x" * 300}, "best_of.by"),
        ({"n": 2, "report": ["likelihood", "vote"]}, "best_of.report.1"),
        ({"n": 2, "report": ["likelihood"] * 9}, "best_of.report"),
        ({"n": 2, "vote": {"power": float("nan")}}, "best_of.vote.power"),
        ({"n": 2, "vote": {"power": 11}}, "best_of.vote.power"),
        ({"n": 2, "vote": {"pattern": "x" * 501}}, "best_of.vote.pattern"),
        ({"n": 2, "vote": {"weights": "rank"}}, "best_of.vote.weights"),
        ({"n": 2, "reject": {}}, "best_of.reject.at"),
        ({"n": 2, "reject": {"at": 0}}, "best_of.reject.at"),
        ({"n": 2, "reject": {"at": []}}, "best_of.reject.at"),
        ({"n": 2, "reject": {"at": [2, 2]}}, "best_of.reject.at"),
        ({"n": 2, "reject": {"at": list(range(1, 18))}}, "best_of.reject.at"),
        ({"n": 2, "reject": {"at": 4, "share": 1}}, "best_of.reject.share"),
        ({"n": 2, "reject": {"at": 4, "share": 0.0}}, "best_of.reject.share"),
        ({"n": 2, "reject": {"at": 4, "by": "vote"}}, "best_of.reject.by"),
        ({"n": 2, "reject": {"at": 4, "max_total_tokens": 0}}, "best_of.reject.max_total_tokens"),
        ({"n": 2, "by": "vote", "reject": {"at": 4}}, "best_of.by"),
        ({"n": 4, "steps": {"width": 3}}, "best_of.steps.width"),
        ({"n": 4, "steps": {"width": 2}, "return": 3}, "best_of.return"),
        ({"n": 4, "steps": {"width": 2, "until": ""}}, "best_of.steps.until"),
        ({"n": 4, "steps": {"width": 2, "max_steps": 1000}}, "best_of.steps.max_steps"),
        ({"n": 4, "steps": {"width": 2}, "reject": {"at": 4}}, "best_of.steps"),
        ({"n": 2, "on_error": "first"}, "best_of.on_error"),
        ({"n": 2, "nn": 3}, "best_of.nn"),
        ({"n": 2, "reject": {"at": 4, "shares": 0.5}}, "best_of.reject.shares"),
    ],
)
def test_what_makes_no_sense_is_named(value: Any, field: str):
    with pytest.raises(RequestError) as caught:
        parse_best_of(value)
    assert caught.value.field == field


def test_seeds_are_distinct_and_the_first_is_the_requests_own():
    seeds = {seed_of(seed, index, part) for seed in range(20) for index in range(64) for part in range(3)}
    assert len(seeds) == 20 * 64 * 3
    assert all(seed is not None and 0 <= seed < 2**63 for seed in seeds)
    assert seed_of(7, 0) == 7
    assert seed_of(None, 5) is None


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ({"n": 2, "by": "likelihood", "vote": {"pattern": "a"}}, "best_of.vote"),
        ({"n": 2, "by": "vote", "vote": {"weights": "borda"}}, "best_of.vote.weights"),
        ({"n": 2, "by": "vote:likelihood:sum", "vote": {"weights": "score"}}, "best_of.vote.weights"),
        ({"n": 2, "by": "vote:likelihood", "vote": {"power": 2}}, "best_of.vote.power"),
    ],
)
def test_nothing_is_said_of_a_vote_in_vain(value: Any, field: str):
    with pytest.raises(RequestError) as caught:
        parse_best_of(value)
    assert caught.value.field == field


def test_what_a_client_says_takes_the_place_of_a_presets_that_cant_stand_beside_it():
    preset = parse_best_of({"n": 4, "by": "vote:likelihood", "vote": {"pattern": "a"}, "reject": {"at": 4}})
    asked = parse_best_of({"by": "likelihood", "steps": {"width": 2}}, preset.given)
    assert asked.reject is None
    assert asked.vote.pattern is None


def test_wrong_types_are_told_in_jsons_words():
    for value, message in (
        ({"n": 2, "report": "likelihood"}, "best_of.report: must be a list"),
        ({"n": 2, "vote": 3}, "best_of.vote: must be an object"),
    ):
        with pytest.raises(RequestError, match=message):
            parse_best_of(value)
