"""Numbers as people and models write them: with commas, currency signs, exponents, as fractions and in LaTeX."""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction

#: Ways of writing that are told in the plainer one.
_PLAINER = (
    # 1{,}234 and 1\,234 of LaTeX, and narrow blanks between groups: 1,234
    (re.compile(r"(?<=\d)(?:\{,\}|\\,|[\u00a0\u2009\u202f])(?=\d{3}(?!\d))", re.ASCII), ","),
    # 1.5 \times 10^{3}: 1.5e3
    (
        re.compile(
            r"(?<=\d) ?(?:[\u00d7\u00b7*x]|\\times|\\cdot) ?10 ?(?:\^|\*\*) ?\{?([-+\u2212]?\d{1,3})\}?(?![\d.])",
            re.ASCII,
        ),
        r"e\1",
    ),
    # 2\frac{1}{2}: 2 1/2
    (re.compile(r"(?<=\d)(?=\\[cdt]?frac\b)"), " "),
    (re.compile(r"\\[cdt]?frac *\{(-?[\d.,]+)\} *\{([\d.,]+)\}", re.ASCII), r"\1/\2"),
)
# Exponents of up to three digits: beyond, a number would be longer than any memory.
_AMOUNT = (
    r"(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d{1,2}(?:,\d{2})+,\d{3}(?![\d,])|\d+)(?:\.\d+)?|\.\d+)"
    r"(?:[eE][-+\u2212]?\d{1,3}(?!\w))?"
)
# Behind a letter, a number or a bracket it is a hyphen or takes away.
_SIGN = r"(?<![\w.)\]}%])(?<!\d\$)[-\u2013\u2212]"
_CURRENCY = r"\\?[$\u00a3\u00a5\u20ac\u20b9]"
# A date of three parts is no fraction.
_FRACTION = rf"(?<![/\u2044])(?P<above>{_AMOUNT})[/\u2044](?P<below>{_AMOUNT})(?![/\u2044]?\d|\.\d)"
_NUMBER = re.compile(
    rf"(?:(?P<sign>{_SIGN})(?:{_CURRENCY})?)?(?:(?:(?P<ones>\d{{1,3}}) )?{_FRACTION}|(?P<amount>{_AMOUNT}))",
    re.ASCII,
)


def numbers(text: str) -> list[Fraction]:
    """The numbers in `text`, in its order: -$1,234.50, 1e-5, 3/4, 1 1/2, and LaTeX's 1{,}234 and \\frac{3}{4} too."""
    for written, plainer in _PLAINER:
        text = written.sub(plainer, text)
    return [value for match in _NUMBER.finditer(text) for value in _values(match)]


def _values(match: re.Match[str]) -> list[Fraction]:
    sign = -1 if match["sign"] else 1
    if match["amount"] is not None:
        return [sign * _amount(match["amount"])]
    above, below = _amount(match["above"]), _amount(match["below"])
    ones = [] if match["ones"] is None else [_amount(match["ones"])]
    if not below or (ones and above >= below):
        first, *others = [*ones, *([above / below] if below else [above, below])]
        return [sign * first, *others]
    return [sign * (sum(ones) + above / below)]


def _amount(text: str) -> Fraction:
    return Fraction(Decimal(text.replace(",", "").replace("\u2212", "-")))
