from __future__ import annotations

import pytest

from motet_benchmarks.kernels.cases import FEWEST, Case
from motet_benchmarks.kernels.contests import EAGER, MOTET, VLLM_V1
from motet_benchmarks.kernels.run import alternate
from motet_benchmarks.kernels.samples import Spread, line

CASE = Case("contrast", "every row contrast", "", "flat", "float32", 8, 1000)


def test_ratios_are_taken_round_by_round():
    seconds = {VLLM_V1: [9.0, 9.0, 9.0], EAGER: [2.0, 6.0, 3.0], MOTET: [1.0, 2.0, 3.0]}
    found = line(CASE, "called", 4_000_000, seconds)
    assert list(found.seconds) == [MOTET, EAGER, VLLM_V1]
    assert found.ratios == {EAGER: Spread(2.0, 1.5, 2.5), VLLM_V1: Spread(4.5, 3.75, 6.75)}
    assert found.seconds[MOTET] == Spread(2.0, 1.5, 2.5)
    assert found.bandwidth == 2_000_000


def timers(called, names="abc"):
    def timer(name):
        def call():
            called.append(name)
            return float(len(called))

        return call

    return {(name, "called"): timer(name) for name in names}


def test_contenders_alternate():
    called = []
    spent = alternate(timers(called), rounds=3, seconds=60.0)
    assert "".join(called) == "abccbaabc"
    assert spent["a", "called"] == [1.0, 6.0, 7.0]


@pytest.mark.parametrize(("rounds", "expected"), [(2, 2), (100, FEWEST)])
def test_time_ends_the_rounds_but_not_the_first_few(rounds, expected):
    called = []
    spent = alternate(timers(called), rounds=rounds, seconds=0.0)
    assert {len(each) for each in spent.values()} == {expected}
