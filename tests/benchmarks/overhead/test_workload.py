from __future__ import annotations

import random
from statistics import mean

import pytest

from motet_benchmarks.overhead.workload import LONGEST, arriving, lengths, prompts, take


def test_no_two_prompts_begin_alike():
    texts = take(prompts(0), 300)
    assert len({text.split(" ", 1)[0] for text in texts}) == 300
    assert take(prompts(0), 300) == texts
    assert take(prompts(1), 300) != texts


def test_lengths_follow_the_law_they_say():
    sizes = lengths(20_000, 64, random.Random(0))
    assert min(sizes) == 1
    assert max(sizes) == LONGEST * 64
    # The mean of an exponential law cut off at 4 means is 1 - exp(-4) of it.
    assert mean(sizes) == pytest.approx(0.982 * 64, rel=0.02)
    # Its median is ln 2 of the mean.
    assert sorted(sizes)[10_000] == pytest.approx(0.693 * 64, abs=2)


def test_orders_arrive_within_the_span_with_their_lengths():
    sizes = lengths(400, 16, random.Random(0))
    orders = arriving(prompts(0), sizes, span=8.0, rng=random.Random(1))
    assert [order.tokens for order in orders] == sizes
    moments = [order.arrival for order in orders]
    assert moments == sorted(moments)
    assert moments[0] >= 0
    assert moments[-1] <= 8.0
    assert moments[200] == pytest.approx(4.0, abs=0.8)
