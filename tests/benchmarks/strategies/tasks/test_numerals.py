"""What counts as a number, against hand-worked cases."""

from __future__ import annotations

from decimal import Decimal

import pytest

from motet_benchmarks.strategies.tasks.graders import numbers


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("no number, none.", []),
        ("17 + 25 = 42.", ["17", "25", "42"]),
        ("1,234,567.50 and 1,2", ["1234567.50", "1", "2"]),
        ("3-5", ["3", "5"]),
        ("-3, \u22124 and x-5", ["-3", "-4", "5"]),
        ("$-7 (or .5)", ["-7", "0.5"]),
        ("1,2345", ["1", "2345"]),
    ],
)
def test_numbers(text: str, found: list[str]):
    assert numbers(text) == [Decimal(each) for each in found]
