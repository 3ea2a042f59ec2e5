"""How much the texts of a strategy differ from each other: distinct-n, and self-BLEU."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from motet_benchmarks.strategies.figures import Table

DRAWS, PROBLEMS = "draws of a problem", "problems"

#: The longest n-grams that BLEU looks at.
ORDERS = 4

#: What an order without a match counts as, as in method 1 of Chen and Cherry (2014); 0 would hide all other orders.
EPSILON = 0.1

_TOKEN = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class Diversity:
    """Of one strategy on one task."""

    task: str
    strategy: str
    over: str
    """Which texts are held beside each other: the draws of each problem, averaged over problems, where there are
    several; else the answers to all problems."""
    distinct: tuple[float | None, ...]
    """For n = 1, 2 and 3 the share of n-grams that are no repeats; none where no text is that long."""
    self_bleu: float | None
    """From 0, nothing in common, to 1, all alike; none with fewer than two texts."""


def diversities(table: Table) -> list[Diversity]:
    """Of every strategy on every task."""
    found = []
    for task, name in table.cells():
        groups = [
            [sample.text for sample in answers if sample.refusal is None]
            for answers in table.answers(task, name).values()
        ]
        over = DRAWS if max(map(len, groups)) > 1 else PROBLEMS
        if over == PROBLEMS:
            groups = [[text for group in groups for text in group]]
        tokens = [[tokenise(text) for text in group] for group in groups]
        found.append(
            Diversity(
                task,
                name,
                over,
                tuple(_mean([distinct(group, n) for group in tokens]) for n in (1, 2, 3)),
                _mean([self_bleu(group) for group in tokens]),
            )
        )
    return found


def tokenise(text: str) -> list[str]:
    """Words and single other signs, in lower case."""
    return _TOKEN.findall(text.lower())


def distinct(texts: Sequence[Sequence[str]], n: int) -> float | None:
    """The share of all texts' n-grams that are different from each other (Li et al., 2016)."""
    counts: Counter[tuple[str, ...]] = Counter()
    for text in texts:
        counts.update(_grams(text, n))
    return len(counts) / counts.total() if counts else None


def self_bleu(texts: Sequence[Sequence[str]]) -> float | None:
    """The mean BLEU of each text with all the others as its references (Zhu et al., 2018).

    BLEU is the geometric mean of the precisions of 1-grams to 4-grams, of shorter ones for a text that is shorter, an
    order without a match counted as 0.1 matches, times the brevity penalty against the reference closest in length.
    Texts without a token are left out.
    """
    texts = [text for text in texts if text]
    if len(texts) < 2:
        return None
    grams = [[Counter(_grams(text, n)) for n in range(1, ORDERS + 1)] for text in texts]
    peaks = [_peaks([each[order] for each in grams]) for order in range(ORDERS)]
    lengths = Counter(len(text) for text in texts)
    return sum(_bleu(own, place, peaks, lengths) for place, own in enumerate(grams)) / len(texts)


#: How often an n-gram is in the text that has it most often, which that is, and how often in the next one.
_Peak = tuple[int, int, int]


def _peaks(counts: Sequence[Counter[tuple[str, ...]]]) -> dict[tuple[str, ...], _Peak]:
    """What a text needs to know of all others, so that the work grows with the texts and not with their square."""
    found: dict[tuple[str, ...], _Peak] = {}
    for place, own in enumerate(counts):
        for gram, count in own.items():
            most, who, next_most = found.get(gram, (0, -1, 0))
            if count > most:
                found[gram] = count, place, most
            else:
                found[gram] = most, who, max(next_most, count)
    return found


def _bleu(
    own: Sequence[Counter[tuple[str, ...]]],
    place: int,
    peaks: Sequence[dict[tuple[str, ...], _Peak]],
    lengths: Counter[int],
) -> float:
    logs = []
    for counts, known in zip(own, peaks, strict=True):
        if not counts:
            break
        matched = 0
        for gram, count in counts.items():
            most, who, next_most = known[gram]
            matched += min(count, next_most if who == place else most)
        logs.append(math.log((matched or EPSILON) / counts.total()))
    length = own[0].total()
    others = [each for each, count in lengths.items() if count > (each == length)]
    closest = min(others, key=lambda each: (abs(each - length), each))
    brevity = min(0.0, 1 - closest / length)
    return math.exp(brevity + sum(logs) / len(logs))


def _grams(text: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(text[start : start + n]) for start in range(len(text) - n + 1)]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
