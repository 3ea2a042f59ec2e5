"""What the answers of each strategy take, in tokens and time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter

from motet_benchmarks.statistics import Interval, means
from motet_benchmarks.strategies.figures import Table, answered, scored
from motet_benchmarks.strategies.records import Sample, Strategy


@dataclass(frozen=True, slots=True)
class Spending:
    """What an answer of one strategy to one task takes, on average over problems."""

    task: str
    strategy: str
    answers: int
    """Refused problems are none, here and in all that follows."""
    refused: int
    """Problems that the endpoint refused, draw by draw."""
    wall: float | None
    """Seconds in which at least one request was under way; None where the run hasn't kept when they were."""
    rate: float | None
    """Tokens generated in each of these seconds, by all requests at once."""
    least: bool
    """Whether `scored` and `forwards` are the least that it can have been, as with early rejection and steps."""
    prompt: Interval
    tokens: Interval
    """Of the answer that was returned."""
    generated: Interval
    scored: Interval
    forwards: Interval
    declined: Interval
    """The share of answers."""
    cut: Interval
    """The share of answers that the limit of tokens ended."""


#: What a cost is made of: counts of tokens, and shares of answers.
_TOKENS = tuple(
    answered(attrgetter(name))
    for name in ("prompt_tokens", "answer_tokens", "generated", "scored", "forwards")
)
_SHARES = (answered(attrgetter("declined")), answered(lambda sample: sample.finish == "length"))


def costs(table: Table) -> list[Spending]:
    """What every strategy takes on every task."""
    cells = table.cells()
    tokens, shares = (
        [list(table.averaged(*cell, figure).values()) for cell in cells for figure in figures]
        for figures in (_TOKENS, _SHARES)
    )
    counts = iter(_together(tokens))
    parts = (interval for interval, _ in scored(shares) if interval is not None)
    cheaper = {each.name for each in table.run.strategies if _rejecting(each)}
    found = []
    for cell in cells:
        _, name = cell
        answers = table.each(*cell)
        wall = _wall(answers)
        rate = sum(sample.generated for sample in answers) / wall if wall else None
        figures = [*(next(counts) for _ in _TOKENS), *(next(parts) for _ in _SHARES)]
        found.append(
            Spending(*cell, len(answers), len(table.refused(*cell)), wall, rate, name in cheaper, *figures)
        )
    return found


def _wall(answers: Sequence[Sample]) -> float | None:
    """The length of all answers' times laid over each other, so that pauses between sittings count for nothing."""
    spans = sorted((sample.began, sample.seconds) for sample in answers if sample.began is not None)
    if len(spans) < len(answers):
        return None
    total, end = 0.0, -math.inf
    for began, seconds in spans:
        total += max(0.0, began + seconds - max(began, end))
        end = max(end, began + seconds)
    return total


def _rejecting(strategy: Strategy) -> bool:
    """Whether it reads partial answers, nobody tells how often."""
    asked = strategy.best_of
    return isinstance(asked, Mapping) and any(asked.get(kind) for kind in ("reject", "steps"))


def _together(columns: Sequence[Sequence[float]]) -> list[Interval]:
    """The means of columns of any lengths, those of one length resampled together since that takes its time."""
    found: dict[int, Interval] = {}
    for length in {len(column) for column in columns}:
        places = [place for place, column in enumerate(columns) if len(column) == length]
        found.update(zip(places, means([columns[place] for place in places]), strict=True))
    return [found[place] for place in range(len(columns))]
