"""Costs against hand-worked cases: prompts of 10 tokens, answers of 4."""

from __future__ import annotations

from typing import Any

import pytest

from motet_benchmarks.strategies.cost import Cost, cost_of


@pytest.mark.parametrize(
    ("against", "forwards"),
    [
        ("amateur", 28),
        ("base", 28),
        ({"adapter": "motet-dpo@1"}, 28),
        ({"prompt_tokens": 3}, 14 + 7),
        ({"layer": 2}, 14),
        ({"layers": "low"}, 14),
        ([{"voice": "base", "weight": 1}, {"voice": {"prompt_tokens": 5}, "weight": -1}], 14 + 14 + 9),
        ([{"voice": "base", "weight": 0}, {"voice": {"layer": 1}, "weight": 1}], 14),
    ],
)
def test_every_voice_that_reads_on_its_own_counts(against: Any, forwards: int):
    told = {"contrast": {"strength": 0.5, "plausibility": 0.1, "against": against}}
    assert cost_of(10, 4, told) == Cost(answer=4, generated=4, scored=0, forwards=forwards)


def test_a_contrast_that_changes_nothing_costs_nothing():
    neutral = {"strength": 0.0, "plausibility": 0.0, "against": "amateur"}
    assert cost_of(10, 4, {"contrast": neutral}) == cost_of(10, 4, {}) == Cost(4, 4, 0, 14)


def best_of(by: str, **more: Any) -> dict[str, Any]:
    texts = [{"index": index, "tokens": tokens} for index, tokens in enumerate((4, 6, 10))]
    return {"best_of": {"by": by, "candidates": 3, "tokens": 20, "choices": [1], "texts": texts, **more}}


@pytest.mark.parametrize(
    ("by", "scored"),
    [
        ("likelihood", 0),
        ("certainty", 0),
        ("vote", 0),
        ("mine", 0),
        ("reward:judge", 3 * 10 + 20),
        ("reward:judge+0.5*likelihood:sum", 3 * 10 + 20),
        ("vote:reward:judge", 3 * 10 + 20),
        ("implicit:motet-dpo", 2 * (3 * 10 + 20)),
        ("reward:judge+implicit:motet-dpo", 3 * (3 * 10 + 20)),
    ],
)
def test_candidates_share_a_prompt_and_scorers_read_both(by: str, scored: int):
    assert cost_of(10, 20, best_of(by)) == Cost(6, 20, scored, 10 + 20 + scored)


def test_candidates_with_a_voice_are_drawn_twice_and_scored_once():
    told = best_of("reward") | {"contrast": {"strength": 1.0, "plausibility": 0.1, "against": "base"}}
    assert cost_of(10, 20, told) == Cost(6, 20, 50, 2 * (10 + 20) + 50)


def test_where_candidates_arent_told_the_stream_or_their_mean_stands_for_the_answer():
    told = best_of("vote", texts=[])
    assert cost_of(10, 20, told, pieces=5).answer == 5
    assert cost_of(10, 20, told).answer == 7
