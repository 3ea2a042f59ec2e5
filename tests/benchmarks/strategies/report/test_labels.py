"""Labels of plots: short, and never two alike."""

from __future__ import annotations

import pytest

from motet_benchmarks.strategies.report.labels import explained, labels, numbers, width

SWEEP = [f"contrast strength={a} plausibility={b}" for a in (0.25, 0.5, 1) for b in (0, 0.1)]


def test_points_of_a_sweep_keep_their_numbers():
    found = labels(["plain", *SWEEP])
    assert list(found.values()) == [
        "plain",
        *(f"contrast {a}, {b}" for a in (0.25, 0.5, 1) for b in (0, 0.1)),
    ]
    assert explained(found) == f" Names are shortened: contrast 0.25, 0 is {SWEEP[0]}."


def test_names_that_have_room_are_left_alone():
    names = ["plain", "best-of-8 n=4", "中文模型 🎻"]
    assert list(labels(names).values()) == names
    assert explained(labels(names)) == ""


@pytest.mark.parametrize(
    "names",
    [
        [f"meta-llama/Llama-3.1-8B-Instruct/{each}" for each in SWEEP],
        [f"{'model-' * 9}{place}{'-of-many' * 9}" for place in range(40)],  # they differ in the middle
        [f"{place} {'same end ' * 9}" for place in range(40)],
        [f"{'same beginning ' * 9} {place}" for place in range(40)],
        ["x" * 40, "x" * 41, f"{'x' * 14}…{'x' * 15}", f"{'x' * 12}…{'x' * 14} #2"],
        ["two  blanks", "two blanks", "two\tblanks"],
        [
            "a long one s=1 p=0 and so on and on",
            "a long one s=1 p=0",
            "a long one p=1 s=0",
            "a long one 1, 0",
        ],
        ["中文模型" * 9, "中文模型" * 10],
        ["_hidden", "__hidden", " ", "\x07"],
    ],
)
@pytest.mark.parametrize("most", [22, 30])
def test_no_two_labels_are_alike_or_too_long(names, most):
    found = labels(names, most)
    assert list(found) == names
    seen = [each.removeprefix("\N{ZERO WIDTH SPACE}") for each in found.values()]
    assert len(set(seen)) == len(names)
    assert all(0 < width(each) <= most for each in seen)
    assert not any(each.startswith("_") for each in found.values())  # matplotlib would leave it out


def test_settings_of_different_keys_stay_told_apart():
    names = ["a rather long name of it strength=1", "a rather long name of it plausibility=1"]
    assert len(set(labels(names, 34).values())) == 2
    assert "1" not in {each.rpartition(" ")[2] for each in labels(names, 34).values()}


def test_ticks_have_the_digits_that_tell_them_apart():
    assert numbers([0.25, 0.5, 1.0, 16.0]) == ["0.25", "0.5", "1", "16"]
    assert numbers([0.1, 0.10000001]) == ["0.1", "0.10000001"]
    assert len(set(numbers([1.0, 1.0 + 2**-52]))) == 2
