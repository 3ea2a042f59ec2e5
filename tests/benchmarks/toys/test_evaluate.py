from __future__ import annotations

from motet_benchmarks.toys.evaluate import Outcomes


def test_outcomes_are_told_apart_by_family():
    outcomes = Outcomes(["a", "b", "a"], [True, False, False], [False] * 3, [True, True, True])
    only = outcomes.only("a").line()
    assert (only.expert.right, only.expert.of, only.amateur.right, only.contrast.right) == (1, 2, 0, 2)
    assert (only.against_greedy.gains, only.against_greedy.losses) == (1, 0)
    assert outcomes.line().contrast.right == 3
