"""Splits, draws and streams: apart, repeatable, balanced."""

from __future__ import annotations

import itertools
import os
import random
import re
import subprocess
import sys
from collections import Counter

import pytest

from motet_benchmarks.gym import FAMILIES, Instance, Mistake, instances, split_of, stream

FEWER_TESTS = {
    "product": 69,
    "backwards": 89,
    "coins": 58,
    "weekday": 38,
    "month": 55,
    "rule-backwards": 88,
    "then-backwards": 89,
    "opposites": 66,
}

DIGEST = """
import hashlib, itertools
from motet_benchmarks.gym import instances, stream, vocabulary
drawn = [*instances("test", count=4, seed=5), *itertools.islice(stream("train", seed=5), 200), *vocabulary()]
print(hashlib.sha256(repr(drawn).encode()).hexdigest())
"""


def test_the_same_seed_gives_the_same_problems() -> None:
    assert instances("train", count=5, seed=1) == instances("train", count=5, seed=1)
    assert instances("train", count=5, seed=1) != instances("train", count=5, seed=2)


def test_the_same_seed_gives_the_same_problems_in_another_process() -> None:
    digests = {
        subprocess.run(
            [sys.executable, "-c", DIGEST],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1")
    }
    assert len(digests) == 1


def test_a_family_is_drawn_alike_alone_and_among_others() -> None:
    among = [problem for problem in instances("test", count=5, seed=1) if problem.family == "hour"]
    assert instances("test", count=5, seed=1, families=["hour"]) == among


def test_splits_share_no_problem() -> None:
    keys = {
        split: {(problem.family, problem.key) for problem in instances(split, count=60, seed=0)}
        for split in ("train", "validation", "test")
    }
    for one, other in itertools.combinations(keys.values(), 2):
        assert one.isdisjoint(other)


def test_the_split_hangs_on_family_and_key_alone() -> None:
    (problem,) = instances("test", count=1, seed=0, families=["weekday"])
    reworded = Instance(
        problem.family, problem.key, "Other words", "other answer", (Mistake("other", "mistake"),)
    )
    assert split_of(reworded) == split_of(problem) == "test"


def test_splits_have_their_shares() -> None:
    problems = [Instance("family", str(number), "", "", ()) for number in range(10_000)]
    shares = Counter(split_of(problem) for problem in problems)
    # Four standard deviations of a binomial draw.
    assert shares["train"] == pytest.approx(8000, abs=160)
    assert shares["validation"] == pytest.approx(1000, abs=120)
    assert shares["test"] == pytest.approx(1000, abs=120)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_hundred_different_test_problems(name: str) -> None:
    """Or as many as FEWER_TESTS says: kin are held out together, and small families have few to hold out."""
    keys = {problem.key for problem in instances("test", count=100, seed=0, families=[name])}
    assert len(keys) == FEWER_TESTS.get(name, 100)


def test_no_problem_is_told_twice() -> None:
    problems = instances("test", count=200, seed=0, families=["month"])
    assert len(problems) == len({problem.key for problem in problems}) == FEWER_TESTS["month"]


def test_a_problem_is_held_out_only_with_its_kin() -> None:
    rng = random.Random(0)
    for name in ("addition", "larger", "backwards", "opposites"):
        for _ in range(2_000):
            problem = FAMILIES[name].draw(rng)
            kin = [Instance(family, key, "", "", ()) for family, key in problem.kin]
            assert kin
            if split_of(problem) != "train":
                assert "train" not in {split_of(one) for one in kin}


def test_no_held_out_sum_is_told_by_a_conversation_in_the_training_text() -> None:
    told = {
        tuple(message["content"] for message in problem.messages()[:2])
        for problem in itertools.islice(stream("train", seed=0, families=["then-add"]), 30_000)
    }
    held_out = instances("test", count=60, seed=0, families=["addition"])
    assert told.isdisjoint({(f"What is {' + '.join(one.key.split())}?", one.answer) for one in held_out})


@pytest.mark.parametrize("name", ["addition", "larger", "longer-word"])
def test_the_other_order_of_a_held_out_problem_is_held_out_too(name: str) -> None:
    trained = {problem.key for problem in itertools.islice(stream("train", seed=1, families=[name]), 5_000)}
    for problem in instances("test", count=40, seed=0, families=[name]):
        parts = problem.key.split()
        half = len(parts) // 2
        assert " ".join(parts[half:] + parts[:half]) not in trained


def test_both_orders_of_a_product_are_one_problem() -> None:
    rng = random.Random(0)
    asked: dict[str, set[str]] = {}
    for _ in range(5_000):
        problem = FAMILIES["product"].draw(rng)
        asked.setdefault(problem.key, set()).add(" ".join(re.findall(r"\d+", problem.instruction)))
    for key, orders in asked.items():
        small, large = key.split()
        assert orders <= {f"{small} {large}", f"{large} {small}"}
    assert sum(len(orders) == 2 for orders in asked.values()) > len(asked) / 2


def test_no_held_out_product_is_a_worked_step_of_another_or_of_coins() -> None:
    steps = {
        step.text
        for problem in instances("train", count=2_000, seed=0, families=["product", "coins"])
        for step in problem.steps
    }
    for problem in instances("test", count=100, seed=0, families=["product"]):
        small, large = problem.key.split()
        assert steps.isdisjoint(
            {f"{a} * {b} = {problem.answer}" for a, b in ((small, large), (large, small))}
        )


def test_coins_are_told_in_one_order_only() -> None:
    rng = random.Random(0)
    values = [FAMILIES["coins"].draw(rng).key.split()[1::2] for _ in range(1_000)]
    assert all(int(first) < int(second) for first, second in values)


def test_the_stream_is_balanced_shuffled_and_within_its_split() -> None:
    rounds = 20
    problems = list(itertools.islice(stream("validation", seed=3), rounds * len(FAMILIES)))
    assert Counter(problem.family for problem in problems) == dict.fromkeys(FAMILIES, rounds)
    assert {split_of(problem) for problem in problems} == {"validation"}
    orders = {
        tuple(problem.family for problem in problems[start : start + len(FAMILIES)])
        for start in range(0, len(problems), len(FAMILIES))
    }
    assert len(orders) == rounds


def test_streams_can_be_narrowed() -> None:
    narrowed = stream("train", seed=0, families=["hour", "month"])
    assert {problem.family for problem in itertools.islice(narrowed, 10)} == {"hour", "month"}


def test_bad_requests_are_named() -> None:
    with pytest.raises(ValueError, match="families: unknown sums, spelling; known are addition"):
        instances("train", count=1, seed=0, families=["sums", "hour", "spelling"])
    with pytest.raises(ValueError, match="families: unknown sums"):
        stream("train", seed=0, families=["sums"])
    with pytest.raises(ValueError, match="at least one family"):
        stream("train", seed=0, families=[])
    with pytest.raises(ValueError, match="count must not be negative, got -1"):
        instances("train", count=-1, seed=0)
