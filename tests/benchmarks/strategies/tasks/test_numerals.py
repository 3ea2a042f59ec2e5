"""What counts as a number, against hand-worked cases."""

from __future__ import annotations

from fractions import Fraction

import pytest

from motet_benchmarks.strategies.tasks.numerals import numbers


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("no number, none.", []),
        ("17 + 25 = 42.", ["17", "25", "42"]),
        ("1,234,567.50 and 1,2", ["1234567.50", "1", "2"]),
        ("1,23,456 rupees", ["123456"]),
        ("3-5", ["3", "5"]),
        ("-3, \u22124 and x-5", ["-3", "-4", "5"]),
        ("(3)-5, 50%-5 and 2020\u20132024", ["3", "5", "50", "5", "2020", "2024"]),
        ("$-7 (or .5)", ["-7", "0.5"]),
        ("-$5, \u2013\u20ac1,000.5 and -\\$6", ["-5", "-1000.5", "-6"]),
        ("$5$-$3$", ["5", "3"]),
        ("1,2345", ["1", "2345"]),
        ("0.00001 and 1e-05", ["1/100000", "1/100000"]),
        ("1e3, 2.5E\u22123 and 3e", ["1000", "0.0025", "3"]),
        ("1.5 \u00d7 10^3, 2\\times 10^{-3}", ["1500", "0.002"]),
        ("1e9999", ["1", "9999"]),
        ("3/4, -3/4 and 1\u20442", ["3/4", "-3/4", "1/2"]),
        ("1 1/2 and -1 1/2", ["3/2", "-3/2"]),
        ("5 7/3 and 1/0", ["5", "7/3", "1", "0"]),
        ("05/06/2024", ["5", "6", "2024"]),
        ("\\frac{3}{4}, -\\dfrac{1,000}{3} and 2\\frac{1}{2}", ["3/4", "-1000/3", "5/2"]),
        ("\\frac{x}{2}", ["2"]),
        ("1{,}234, 1\\,234 and 1\u202f234\u202f567", ["1234", "1234", "1234567"]),
        ("\\boxed{42}. **18**", ["42", "18"]),
        ("9" * 5000, ["9" * 5000]),
    ],
)
def test_numbers(text: str, found: list[str]):
    assert numbers(text) == [_fraction(each) for each in found]


def _fraction(text: str) -> Fraction:
    return Fraction(10**5000 - 1) if len(text) == 5000 else Fraction(text)
