"""Cohen's kappa against values worked out by hand, and its interval."""

from __future__ import annotations

import numpy as np
import pytest

from motet_alignment.data.kappa import cohen_kappa, read_joined, read_labels
from motet_alignment.errors import DataError


def labels(table: list[list[int]]) -> tuple[list[int], list[int]]:
    """Two annotators whose joint counts are `table`."""
    pairs = [
        (row, column)
        for row, counts in enumerate(table)
        for column, count in enumerate(counts)
        for _ in range(count)
    ]
    return [row for row, _ in pairs], [column for _, column in pairs]


@pytest.mark.parametrize(
    ("table", "observed", "expected", "kappa"),
    [
        ([[20, 5], [10, 15]], 0.7, 0.5, 0.4),  # p_e = 25/50 * 30/50 + 25/50 * 20/50
        ([[5, 0], [0, 5]], 1.0, 0.5, 1.0),
        ([[0, 5], [5, 0]], 0.0, 0.5, -1.0),
        ([[4, 4], [1, 1]], 0.5, 0.5, 0.0),
        ([[3, 1, 0], [0, 2, 0], [1, 0, 3]], 0.8, 0.34, 0.46 / 0.66),
        ([[9, 0], [1, 0]], 0.9, 0.9, 0.0),
    ],
)
def test_by_hand(table, observed, expected, kappa):
    result = cohen_kappa(*labels(table))
    assert result.observed == pytest.approx(observed)
    assert result.expected == pytest.approx(expected)
    assert result.kappa == pytest.approx(kappa)
    assert result.low <= result.kappa + 1e-9
    assert result.high >= result.kappa - 1e-9


def test_the_interval_is_that_of_drawing_examples_anew():
    first, second = labels([[20, 5], [10, 15]])
    result = cohen_kappa(first, second)
    one, two = np.array(first), np.array(second)
    random = np.random.default_rng(5)
    kappas = []
    for _ in range(3000):
        drawn = random.integers(0, 50, 50)
        agreed = (one[drawn] == two[drawn]).mean()
        chance = sum((one[drawn] == label).mean() * (two[drawn] == label).mean() for label in (0, 1))
        kappas.append((agreed - chance) / (1 - chance))
    assert (result.low, result.high) == pytest.approx(np.quantile(kappas, [0.025, 0.975]), abs=0.03)


def test_the_same_seed_gives_the_same_interval():
    table = labels([[20, 5], [10, 15]])
    assert cohen_kappa(*table, seed=3) == cohen_kappa(*table, seed=3)
    assert cohen_kappa(*table, seed=3) != cohen_kappa(*table, seed=4)


def test_one_label_throughout_leaves_kappa_undefined():
    result = cohen_kappa(["yes"] * 4, ["yes"] * 4)
    assert (result.kappa, result.low, result.high, result.observed) == (None, None, None, 1.0)


def test_resamples_with_one_label_are_left_out_and_counted():
    result = cohen_kappa(["a", "a", "b"], ["a", "a", "b"], resamples=2000)
    assert (result.kappa, result.low, result.high) == (1.0, 1.0, 1.0)
    assert result.undefined == pytest.approx(2000 * (8 / 27 + 1 / 27), rel=0.15)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ([], [], "at least one"),
        ([1], [1, 2], "the same examples"),
        (range(200), range(200), "200 different labels"),
    ],
)
def test_what_has_no_kappa(first, second, message):
    with pytest.raises(ValueError, match=message):
        cohen_kappa(list(first), list(second))


def test_columns_of_one_file(lines):
    path = lines({"a": "x", "b": 1}, {"a": True, "b": 1.0}, {"a": 1, "b": False})
    first, second = read_labels(path, "a", "b")
    assert len(set(first)) == 3  # true is not 1
    assert len(set(second)) == 2  # 1.0 is 1


def test_two_files_joined(lines):
    one = lines({"id": 1, "label": "x"}, {"id": 2, "label": "y"}, name="one.jsonl")
    two = lines({"id": 2, "mark": "y"}, {"id": 1, "mark": "z"}, name="two.jsonl")
    assert read_joined(one, "label", two, "mark", "id") == (["x", "y"], ["z", "y"])
    short = lines({"id": 2, "mark": "y"}, name="short.jsonl")
    with pytest.raises(DataError, match=r"one\.jsonl:1: id 1 is not in .*short\.jsonl \(1 such lines\)"):
        read_joined(one, "label", short, "mark", "id")
    with pytest.raises(DataError, match=r"one\.jsonl:1: id 1 is not in "):
        read_joined(short, "mark", one, "label", "id")
    twice = lines({"id": 2, "mark": "y"}, {"id": 2, "mark": "y"}, name="twice.jsonl")
    with pytest.raises(DataError, match=r"twice\.jsonl:2: id 2 stands on line 1 already"):
        read_joined(one, "label", twice, "mark", "id")


def test_bad_labels_are_all_listed(lines):
    path = lines({"a": "x", "b": "x"}, {"a": "x"}, {"a": ["x"], "b": "x"}, "{")
    with pytest.raises(DataError) as refused:
        read_labels(path, "a", "b")
    assert str(refused.value).splitlines() == [
        "3 bad lines:",
        f"  {path}:2: key 'b' is missing or null",
        f"  {path}:3: a must be a label (text, a number, true or false), not a list",
        f"  {path}:4: no valid JSON: Expecting property name enclosed in double quotes at column 2",
    ]
    with pytest.raises(DataError, match="is empty"):
        read_labels(lines(name="empty.jsonl"), "a", "b")


def test_labels_that_differ_in_type_only_are_no_disagreement():
    with pytest.raises(ValueError, match=r"labels 1 and '1' differ in type only"):
        cohen_kappa([1, 0], ["1", "0"])
