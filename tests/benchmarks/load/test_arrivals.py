"""Arrivals are a Poisson process at the rate told, the same ones whenever they are drawn; plans that are none."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
from scipy import stats

from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.load.arrivals import arrivals, later, moments, orders, poisson
from motet_benchmarks.load.plan import PARTS, Plan, ramp_of, rates_of
from motet_benchmarks.load.prompts import GymPrompts


def test_gaps_are_exponential_and_counts_have_the_variance_of_their_mean():
    found = poisson(5.0, 5.0, 2000.0, random.Random(1))
    assert stats.kstest(np.diff(found), "expon", args=(0, 1 / 5.0)).pvalue > 0.01
    counts, _ = np.histogram(found, bins=2000, range=(0, 2000))
    # The dispersion's test statistic has a chi-squared distribution.
    dispersion = counts.var(ddof=1) / counts.mean() * (len(counts) - 1)
    assert 0.01 < stats.chi2.cdf(dispersion, len(counts) - 1) < 0.99
    assert stats.poisson.cdf(len(found), 10_000) > 0.01


@pytest.mark.parametrize(("begin", "end"), [(1.0, 9.0), (9.0, 1.0)])
def test_a_ramp_changes_its_rate_linearly(begin: float, end: float):
    seconds = 1000.0
    found = poisson(begin, end, seconds, random.Random(2))
    assert found == sorted(found)
    assert 0 < found[0] < found[-1] < seconds
    counts, edges = np.histogram(found, bins=20, range=(0, seconds))
    rates = begin + (end - begin) * (edges[:-1] + edges[1:]) / 2 / seconds
    expected = rates * seconds / 20
    assert stats.chi2.sf(((counts - expected) ** 2 / expected).sum(), 20) > 0.01


def test_every_server_gets_the_same_and_every_turn_something_else():
    plan = Plan(rates=(20.0,), seconds=4.0, warm_up=1.0, segments=2)
    first, second = plan.turns()
    prompts = GymPrompts()
    drawn, again, other = (
        list(itertools.islice(arrivals(turn, [3.0, 1.0], prompts, 0), len(moments(turn, 0))))
        for turn in (first, first, second)
    )
    assert drawn == again
    assert [one.due for one in drawn] == moments(first, 0)
    assert [one.due for one in drawn] != [one.due for one in other]
    assert drawn[0].due < 0 < drawn[-1].due < 2.0
    texts = [one.order.messages[-1]["content"] for one in drawn + other]
    assert len({text.split()[0] for text in texts}) == len(texts)
    assert len({one.order.seed for one in drawn + other}) == len(texts)


def test_more_come_after_what_is_measured_at_the_last_rate():
    (turn,) = Plan(ramp=(1.0, 40.0), seconds=10.0, warm_up=1.0).turns()
    measured = moments(turn, 0)
    drawn = list(itertools.islice(arrivals(turn, [1.0], GymPrompts(), 0), len(measured) + 2000))
    assert [one.due for one in drawn[: len(measured)]] == measured
    assert [one.order.number for one in drawn] == list(range(len(drawn)))
    gaps = np.diff([turn.seconds, *(one.due for one in drawn[len(measured) :])])
    assert stats.kstest(gaps, "expon", args=(0, 1 / 40.0)).pvalue > 0.01


def test_members_come_by_their_shares():
    (turn,) = Plan(concurrency=(1,), seconds=1.0).turns()
    drawn = itertools.islice(orders(turn, [3.0, 1.0, 4.0], GymPrompts(), 0), 4000)
    counts = np.bincount([order.member for order in drawn])
    assert stats.chisquare(counts, 4000 * np.array([3, 1, 4]) / 8).pvalue > 0.01


def test_a_closed_loop_has_no_moments_of_its_own():
    (turn,) = Plan(concurrency=(3,), seconds=1.0).turns()
    with pytest.raises(ValueError, match="closed loop"):
        moments(turn, 0)
    with pytest.raises(ValueError, match="closed loop"):
        next(later(turn, 0))


def test_a_ramp_is_told_in_parts_and_a_step_in_turns():
    ramp = Plan(ramp=(1.0, 11.0), seconds=10.0, segments=2)
    assert [step.rate for step in ramp.steps] == [2.0, 4.0, 6.0, 8.0, 10.0]
    assert ramp.step_seconds == 2.0
    turn, _ = ramp.turns()
    assert (turn.seconds, len(turn.windows)) == (5.0, PARTS)
    assert [turn.step(moment) for moment in (-1.0, 0.0, 0.99, 1.0, 4.5)] == [0, 0, 0, 1, 4]
    steps = Plan(rates=(1.0, 2.0), seconds=10.0, segments=2).turns()
    assert [(turn.begin, dict(turn.windows)) for turn in steps] == [
        (1.0, {0: (0.0, 5.0)}),
        (1.0, {0: (0.0, 5.0)}),
        (2.0, {1: (0.0, 5.0)}),
        (2.0, {1: (0.0, 5.0)}),
    ]


def test_rates_are_read():
    assert rates_of("--rate", "4, 0.5,4") == (0.5, 4.0)
    assert ramp_of("8:0.5") == (8.0, 0.5)
    for text in ("0", "-1", "many", "", "nan", "1,inf"):
        with pytest.raises(BenchmarkError, match=r"--rate .*: must be requests a second"):
            rates_of("--rate", text)
    for text in ("1", "1:2:3", "0:1", "a:b", "1:inf", "nan:1"):
        with pytest.raises(BenchmarkError, match=r"--ramp .*: must be FROM:TO"):
            ramp_of(text)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "give exactly one"),
        ({"rates": (1.0,), "concurrency": (1,)}, "--rate, --concurrency: give exactly one"),
        ({"rates": (1.0,), "seconds": 1.0, "segments": 4}, "--seconds 1: at least 2 are needed for 4 parts"),
        ({"rates": (1.0,), "timeout": float("nan")}, "--timeout nan"),
        ({"rates": (1.0,), "warm_up": float("inf")}, "--warm-up inf"),
    ],
)
def test_a_load_that_is_none_is_named(settings: dict[str, object], message: str):
    with pytest.raises(BenchmarkError, match=message):
        Plan(**settings)  # type: ignore[arg-type]
