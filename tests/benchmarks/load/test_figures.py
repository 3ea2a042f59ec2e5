"""Rates, percentiles, goodput and ratios of samples that are known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from motet_benchmarks.load.bootstrap import interval, percentiles, resamples
from motet_benchmarks.load.client import client_of
from motet_benchmarks.load.figures import Reckoning, good
from motet_benchmarks.load.plan import Plan, Window
from motet_benchmarks.load.records import Targets
from motet_benchmarks.load.samples import ANSWERED, Sample

TARGETS = Targets(first_token=0.2, per_token=0.05, end_to_end=1.0)


def sample(due: float, **more: Any) -> Sample:
    base = Sample(
        step=0,
        turn=0,
        server="a",
        member="plain",
        number=0,
        due=due,
        late=0.0,
        held=0.0,
        seconds=0.5,
        first_token=0.1,
        per_token=0.01,
        prompt_tokens=3,
        tokens=8,
        outcome=ANSWERED,
    )
    return replace(base, **more)


def reckoned(samples: list[Sample], *, servers: tuple[str, ...] = ("a",), **settings: Any) -> Reckoning:
    plan = Plan(**{"rates": (1.0,), "seconds": 10.0, "targets": TARGETS, **settings})
    members = sorted({one.member for one in samples})
    return Reckoning(plan, servers, members, samples, len(plan.steps))


@pytest.mark.parametrize(
    ("more", "kept"),
    [
        ({}, True),
        ({"first_token": 0.2, "per_token": 0.05, "seconds": 1.0}, True),  # just within each
        ({"first_token": 0.21}, False),
        ({"per_token": 0.051}, False),
        ({"seconds": 1.01}, False),
        ({"per_token": None}, True),  # what an answer doesn't have it can't miss
        ({"outcome": "timeout"}, False),
    ],
)
def test_a_good_answer_keeps_every_target(more: dict[str, Any], kept: bool):
    assert good(sample(0.0, **more), TARGETS) is kept


def test_what_was_due_and_what_ended_while_it_was_measured():
    (figures,) = reckoned(
        [
            sample(-0.2),  # warms up, and ends within: completed, not offered
            sample(1.0),
            sample(2.0, seconds=2.0),  # misses its target
            sample(3.0, outcome="timeout", tokens=0),
            sample(4.0, outcome="status 500", tokens=0, seconds=0.01),
            sample(9.9),  # ends after: offered, answered, not completed
        ]
    ).figures()
    assert (figures.requests, figures.answered, figures.good) == (5, 3, 2)
    assert (figures.offered, figures.completed) == (0.5, 0.3)
    assert figures.tokens == pytest.approx(2.4)
    assert figures.answer_tokens == 8
    assert dict(figures.failures) == {"status 500": 1, "timeout": 1}
    assert figures.goodput is not None
    assert figures.goodput.value == pytest.approx(0.2)
    assert figures.latency["end to end"].count == 3
    assert figures.latency["end to end"].p99.value == 2.0


def test_percentiles_are_those_of_numpy_whatever_is_resampled():
    rng = np.random.default_rng(3)
    values, blocks = rng.exponential(size=500), rng.integers(10, size=500)
    drawn = resamples(10, 0)
    assert (drawn.sum(axis=1) == 10).all()
    here, each = percentiles(values.tolist(), blocks.tolist(), drawn, (1, 50, 99, 100))
    assert here == pytest.approx(np.percentile(values, (1, 50, 99, 100), method="inverted_cdf"))
    for row in (0, 999):
        repeated = np.concatenate(
            [np.repeat(values[blocks == block], int(drawn[row, block])) for block in range(10)]
        )
        assert each[row] == pytest.approx(np.percentile(repeated, (1, 50, 99, 100), method="inverted_cdf"))
    with pytest.raises(ValueError, match="at least one"):
        percentiles([], [], drawn, (50,))


def test_an_interval_knows_that_neighbours_share_a_queue():
    # Everyone of a second waits equally long: ten seconds are ten observations, however many ask.
    rng = np.random.default_rng(5)
    waits = rng.uniform(0.1, 1.0, size=10)
    crowded = [
        sample(second + place / 50, seconds=waits[second]) for second in range(10) for place in range(40)
    ]
    sparse = crowded[::40]
    many, few = (reckoned(samples).figures()[0].latency["end to end"].p50 for samples in (crowded, sparse))
    assert (many.low, many.high) == pytest.approx((few.low, few.high))


def test_the_intervals_cover_the_rate_that_is_true():
    # Of independent arrivals the goodput's interval from ten blocks should hold the true rate nearly 95% of the time.
    rng = np.random.default_rng(7)
    held, rounds = 0, 200
    for _ in range(rounds):
        counts = rng.poisson(30, size=10)
        drawn = resamples(10, 0) @ counts / 10
        found = interval(float(counts.mean()), drawn)
        assert found is not None
        held += found.low <= 30 <= found.high
    assert 0.85 <= held / rounds <= 0.98  # ten blocks are few: the percentile bootstrap is a little too sure


def test_members_and_servers_are_told_apart_and_compared():
    first = [sample(place / 10, member="x" if place % 2 else "y") for place in range(100)]
    second = [replace(one, server="b", seconds=2 * one.seconds, first_token=0.05) for one in first]
    reckoning = reckoned([*first, *second], servers=("a", "b"))
    assert [(one.server, one.member, one.requests) for one in reckoning.figures()] == [
        ("a", None, 100),
        ("a", "x", 50),
        ("a", "y", 50),
        ("b", None, 100),
        ("b", "x", 50),
        ("b", "y", 50),
    ]
    ratios = {(one.member, one.figure): one.ratio for one in reckoning.ratios()}
    assert {one.server for one in reckoning.ratios()} == {"b"}
    for member in (None, "x", "y"):
        slower, sooner = ratios[member, "end to end p99"], ratios[member, "first token p50"]
        assert (slower.value, slower.low, slower.high) == pytest.approx((2, 2, 2))
        assert (sooner.value, sooner.low, sooner.high) == pytest.approx((0.5, 0.5, 0.5))
        assert ratios[member, "goodput"].value == pytest.approx(1.0)


def test_nothing_is_made_up_where_nothing_was_answered():
    lost = [sample(place, outcome="timeout", first_token=None, per_token=None) for place in range(9)]
    other = [sample(place, server="b") for place in range(9)]
    reckoning = reckoned([*lost, *other], servers=("a", "b"))
    figures, _ = reckoning.figures()
    assert figures.latency == {}
    assert figures.answer_tokens is None
    assert figures.goodput is not None
    assert figures.goodput.value == 0
    assert reckoning.ratios() == ()
    untargeted = reckoned(lost, targets=Targets()).figures()[0]
    assert (untargeted.goodput, untargeted.good) == (None, None)


def test_the_parts_of_a_ramp_are_steps_of_their_own():
    samples = [sample(moment, step=int(moment / 2)) for moment in (0.5, 2.5, 3.9, 8.0)]
    figures = reckoned(samples, rates=(), ramp=(1.0, 2.0)).figures()
    assert [one.requests for one in figures] == [1, 2, 0, 0, 1]
    assert [one.completed for one in figures] == [
        0.5,
        0.5,
        0.5,
        0,
        0.5,
    ]  # one of the second ends in the third


@pytest.mark.parametrize(
    ("samples", "complaint"),
    [
        ([sample(place / 100, late=0.002) for place in range(100)], None),
        ([sample(place / 100, late=0.05) for place in range(100)], "turned to requests up to 50 ms late"),
        # Late, and nothing beside what an answer takes.
        ([sample(place / 100, late=0.05, first_token=9.0) for place in range(100)], None),
        ([sample(0.0, held=0.5), sample(0.1)], "1 of 2 requests waited since 7 were open"),
    ],
)
def test_a_client_that_falls_behind_says_so(samples: list[Sample], complaint: str | None):
    found = client_of(0, "a", samples, max_open=7, around=samples, windows=[Window(0, 0.0, 10.0)])
    assert (found.complaint is None) == (complaint is None)
    assert (complaint or "") in (found.complaint or "")


def test_the_most_requests_that_were_open_at_once():
    samples = [
        sample(0.0, seconds=1.0),
        sample(0.5, seconds=1.0),
        sample(1.2, seconds=0.1),
        sample(0.6, turn=1),
    ]
    around = [
        sample(-3.0, seconds=1.0),
        sample(-2.5, seconds=1.0),
        sample(-2.2, seconds=1.0),  # three that are over
        sample(-1.0, seconds=1.4),
        sample(-0.5, seconds=1.2),  # two that the measured ones find there
        *samples,
        *(sample(10.0, seconds=0.5) for _ in range(5)),  # and more, afterwards
    ]
    found = client_of(0, "a", samples, max_open=7, around=around, windows=[Window(0, 0.0, 10.0)])
    assert found.most_open == 3


def test_a_queue_that_grows_shows():
    def growth(samples: list[Sample], **settings: Any) -> float | None:
        return reckoned(samples, **settings).figures()[0].growth

    steady = [sample(place / 10) for place in range(100)]
    assert growth(steady) == 1.0
    growing = [sample(place / 10, seconds=1.0 + place / 10) for place in range(100)]
    assert growth(growing) == pytest.approx((1 + 8.35) / (1 + 1.65), rel=0.02)
    # Those that never came took as long as anybody waited.
    late = [
        sample(place / 10, outcome="timeout" if place > 50 else ANSWERED, seconds=9.0) for place in range(100)
    ]
    late[:50] = steady[:50]
    assert growth(late) == 18.0
    # What was turned away at once says nothing, and neither do a few requests, clients or a ramp.
    assert growth([replace(one, outcome="status 503") for one in growing]) is None
    assert growth(growing[::10]) is None
    assert growth(growing, rates=(), concurrency=(3,)) is None
    assert growth(growing, rates=(), ramp=(1.0, 2.0)) is None
