"""Names as a plot has room for them: those of one plot are made together, so that no two look alike."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

#: What XML can't hold, and what would only confuse a reader.
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")

#: A strategy of a sweep: what is swept, and its settings.
_SWEPT = re.compile(r"(?P<what>\S.*?)(?P<settings>(?: [^\s=]+=[^\s=]+)+)")

#: Part of a cut name that is its end, in the order in which they are tried: a sweep's names differ there.
_ENDS = (0.5, 1.0, 0.75, 0.0)

#: matplotlib leaves a label out that begins with an underscore, so something that isn't seen stands before it.
_UNSEEN = "\N{ZERO WIDTH SPACE}"


def labels(names: Iterable[str], most: int = 30) -> dict[str, str]:
    """For each name a label of at most `most` columns of text, no two of them alike.

    Where a name is too long, a sweep's settings go without their keys (`contrast strength=0.25 plausibility=0` is
    `contrast 0.25, 0`); what is still too long is cut where the labels stay apart, or gets a number.
    """
    every = list(dict.fromkeys(names))
    printed = {name: " ".join(UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", name).split()) for name in every}
    bare = _bare(list(printed.values())) if any(width(each) > most for each in printed.values()) else {}
    short = [bare.get(printed[name], printed[name]) or "(blank)" for name in every]
    cuts = ([_cut(each, most, end) for each in short] for end in _ENDS)
    apart = next((cut for cut in cuts if len(set(cut)) == len(cut)), None)
    if apart is None:
        apart = _numbered([_cut(each, most, _ENDS[0]) for each in short], most)
    return {
        name: _UNSEEN + label if label.startswith("_") else label
        for name, label in zip(every, apart, strict=True)
    }


def explained(shown: Mapping[str, str]) -> str:
    """A sentence with an example for labels that aren't the names themselves; nothing where all are."""
    for name, label in shown.items():
        if label.removeprefix(_UNSEEN) != " ".join(name.split()):
            return f" Names are shortened: {label} is {' '.join(name.split())}."
    return ""


def numbers(values: Sequence[float]) -> list[str]:
    """Different numbers, each with as many digits as tell all of them apart."""
    every = ([f"{value:.{digits}g}" for value in values] for digits in range(6, 17))
    apart = next((found for found in every if len(set(found)) == len(set(values))), None)
    return [repr(value) for value in values] if apart is None else apart


def width(text: str) -> int:
    """How many columns of a terminal a text takes, and about that many letters of a plot."""
    return sum(2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in text)


def _bare(names: Sequence[str]) -> dict[str, str]:
    """Names of sweeps without their settings' keys, where all names of the same sweep have the same keys."""
    swept = {name: found for name in names if (found := _SWEPT.fullmatch(name)) is not None}
    keys: dict[str, set[tuple[str, ...]]] = {}
    for found in swept.values():
        keys.setdefault(found["what"], set()).add(
            tuple(each.partition("=")[0] for each in found["settings"].split())
        )
    return {
        name: f"{found['what']} {', '.join(each.partition('=')[2] for each in found['settings'].split())}"
        for name, found in swept.items()
        if len(keys[found["what"]]) == 1
    }


def _cut(name: str, most: int, end: float) -> str:
    """At most `most` columns of a name, the part `end` of them its last ones."""
    if width(name) <= most:
        return name
    tail = _taken(name[::-1], int(end * (most - 1)))[::-1]
    return f"{_taken(name, most - 1 - width(tail))}…{tail}"


def _taken(text: str, columns: int) -> str:
    taken = ""
    for sign in text:
        if width(taken + sign) > columns:
            break
        taken += sign
    return taken


def _numbered(names: Sequence[str], most: int) -> list[str]:
    """The names, a number behind each that another before it has."""
    found: list[str] = []
    for name in names:
        label, number = name, 1
        while label in found:
            number += 1
            mark = f" #{number}"
            label = f"{_taken(name, most - len(mark))}{mark}"
        found.append(label)
    return found
