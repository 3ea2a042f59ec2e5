"""How often a strategy's answers beat the first strategy's to the same problems, whoever says which is better."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from motet_benchmarks.statistics import Interval, mean_share
from motet_benchmarks.strategies.records import Run, Sample


@dataclass(frozen=True, slots=True)
class Pair:
    """A strategy's answer beside the first strategy's to the same problem."""

    answer: Sample
    against: Sample


@dataclass(frozen=True, slots=True)
class Decided:
    """What was decided of one pair."""

    pair: Pair
    outcome: float
    """1 where the strategy's answer is better, 0 where the first strategy's is, one half for a tie."""


@dataclass(frozen=True, slots=True)
class WinRate:
    """One strategy against the first on one task."""

    task: str
    strategy: str
    against: str
    """The first strategy."""
    problems: int
    wins: int
    """Pairs; a problem has as many as there are draws."""
    ties: int
    losses: int
    rate: Interval
    """Of wins, a tie counting half: averaged over a problem's draws, then over problems; with a score's interval."""


def pairs(run: Run, samples: Iterable[Sample]) -> list[Pair]:
    """Every strategy's answers beside the first's, in the run's order and draw by draw.

    Where one of the two has fewer draws, as a greedy strategy has, its draws are taken again from the first. There is
    no pair where the first strategy or one of the answers was refused.
    """
    cells: dict[tuple[str, str], dict[str, list[Sample]]] = {}
    for sample in (sample for sample in samples if sample.refusal is None):
        cells.setdefault((sample.task, sample.strategy), {}).setdefault(sample.problem, []).append(sample)
    first = run.strategies[0].name
    found = []
    for task in run.tasks:
        known = cells.get((task.name, first), {})
        for strategy in run.strategies[1:]:
            for problem, answers in cells.get((task.name, strategy.name), {}).items():
                found += _draws(answers, known.get(problem, []))
    return found


def by_reward(found: Sequence[Pair]) -> list[Decided]:
    """The higher reward is better. Pairs without both rewards are left out."""
    return [
        Decided(pair, 0.5 if above == below else float(above > below))
        for pair in found
        if (above := pair.answer.reward) is not None and (below := pair.against.reward) is not None
    ]


def win_rates(decided: Sequence[Decided]) -> list[WinRate]:
    """The win rate of each strategy on each task, as they are met."""
    cells: dict[tuple[str, str, str], dict[str, list[float]]] = {}
    for one in decided:
        answer, against = one.pair.answer, one.pair.against
        cell = cells.setdefault((answer.task, answer.strategy, against.strategy), {})
        cell.setdefault(answer.problem, []).append(one.outcome)
    rates = []
    for key, cell in cells.items():
        outcomes = [outcome for draws in cell.values() for outcome in draws]
        wins, losses = (sum(outcome == end for outcome in outcomes) for end in (1.0, 0.0))
        rate = mean_share([sum(draws) / len(draws) for draws in cell.values()])
        rates.append(WinRate(*key, len(cell), wins, len(outcomes) - wins - losses, losses, rate))
    return rates


def _draws(answers: Sequence[Sample], against: Sequence[Sample]) -> list[Pair]:
    if not answers or not against:
        return []
    answers, against = (sorted(each, key=lambda sample: sample.draw) for each in (answers, against))
    return [
        Pair(answers[place % len(answers)], against[place % len(against)])
        for place in range(max(len(answers), len(against)))
    ]
