"""Numbers in text, each written in one way, so that answers of the same value are the same answer."""

from __future__ import annotations

import re
from collections import deque
from math import gcd

#: ASCII digits only. A sign counts where it can't be a subtraction's, a fraction where it can't be a date's.
#: Nothing here backtracks further than the number that it reads.
_NUMBER = re.compile(
    r"(?P<sign>(?<![\w.)\]])[-+−](?=[$€£¥]|[0-9.]))?"
    r"[$€£¥]?"
    r"(?:"
    r"(?<![0-9]/)(?<![0-9.])(?P<over>[0-9]{1,18})/(?P<under>[0-9]{1,18})(?![0-9/]|[.,][0-9])"
    r"|(?:(?P<grouped>(?<![0-9.,])[0-9]{1,3}(?:,[0-9]{3})+(?![0-9]))|(?P<whole>[0-9]+)|(?<![\w.])(?=\.[0-9]))"
    r"(?P<part>\.[0-9]+)?"
    r"(?P<power>[eE][-+]?[0-9]{1,3}(?![0-9\w]))?"
    r")"
)


def last_number(text: str) -> str | None:
    """The last number of a text, as it is written below; None where there is none.

    ``1,234``, ``$1234.00`` and ``1234.`` are ``1234``; ``-0.50`` is ``-0.5``, ``1.5e3`` is ``1500``, ``75%`` is ``75``;
    ``6/8`` is ``0.75``, and a fraction that no decimal number equals stays one, in lowest terms.
    """
    last = deque(_NUMBER.finditer(text), maxlen=1)
    return _written(last[0]) if last else None


def _written(match: re.Match[str]) -> str:
    negative = match["sign"] in ("-", "−")
    if match["over"] is not None:
        if int(match["under"]) == 0:
            return _plain(match["under"], "", 0, False)  # no value; the number that stands there is
        return _fraction(int(match["over"]), int(match["under"]), negative)
    whole = (match["grouped"] or match["whole"] or "").replace(",", "")
    return _plain(whole, (match["part"] or ".")[1:], int((match["power"] or "e0")[1:]), negative)


def _plain(whole: str, part: str, power: int, negative: bool) -> str:
    """Of digits, without ever making a number of them: a model may write any amount."""
    digits, point = whole + part, len(whole) + power
    digits, point = "0" * -point + digits, max(point, 0)
    digits += "0" * (point - len(digits))
    whole, part = digits[:point].lstrip("0") or "0", digits[point:].rstrip("0")
    value = f"{whole}.{part}" if part else whole
    return f"-{value}" if negative and value != "0" else value


def _fraction(over: int, under: int, negative: bool) -> str:
    common = gcd(over, under)
    over, under = over // common, under // common
    twos = fives = 0
    rest = under
    while rest % 2 == 0:
        rest, twos = rest // 2, twos + 1
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    if rest == 1:
        places = max(twos, fives)
        return _plain(str(over * 10**places // under), "", -places, negative)
    return f"{'-' if negative else ''}{over}/{under}"
