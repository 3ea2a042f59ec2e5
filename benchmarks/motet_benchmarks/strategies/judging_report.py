"""What the judgements in a run's folder amount to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from motet_benchmarks.results import Grid
from motet_benchmarks.statistics import Share, share
from motet_benchmarks.strategies.judging import Bias, Judgement, bias, decided
from motet_benchmarks.strategies.records import Run, Sample
from motet_benchmarks.strategies.winning import Decided, Pair, WinRate, by_reward, pairs, win_rates


@dataclass(frozen=True, slots=True)
class Verdicts:
    """One strategy against the first on one task, in the eyes of one judge."""

    judge: str
    rate: WinRate
    bias: Bias
    by_reward: WinRate | None
    """Of the same pairs by the run's rewards; None where it has none."""
    agreement: Share | None
    """Of the pairs with a winner by judge and by reward, those with the same one; None where there are none."""


def verdicts(run: Run, samples: Iterable[Sample], judgements: Sequence[Judgement]) -> list[Verdicts]:
    """Of every judge that was asked, every strategy on every task that it has judged a pair of."""
    everything = pairs(run, samples)
    found = []
    for judge in dict.fromkeys(one.judge for one in judgements):
        said = {one.key(): one for one in judgements if one.judge == judge}
        judged = decided(everything, said)
        for rate in win_rates(judged):
            own = [one for one in judged if _of(one.pair, rate)]
            same = [one.pair for one in own]
            rewarded = by_reward(same)
            found.append(
                Verdicts(
                    judge=judge,
                    rate=rate,
                    bias=bias([pair for pair in everything if _of(pair, rate)], said),
                    by_reward=next(iter(win_rates(rewarded)), None),
                    agreement=_agreement(own, rewarded),
                )
            )
    return found


def grids(first: str, found: Sequence[Verdicts]) -> list[Grid]:
    """A table for each judge and task."""
    cells = dict.fromkeys((one.judge, one.rate.task) for one in found)
    return [
        Grid(
            f"{task}: answers that {judge} prefers to {first}'s, % [95% interval]",
            (
                "strategy",
                "problems",
                "wins",
                "won/tied/lost",
                "flips",
                "shown first",
                "unread",
                "wins by reward",
                "agree",
            ),
            tuple(_row(one) for one in found if (one.judge, one.rate.task) == (judge, task)),
        )
        for judge, task in cells
    ]


#: What the tables' columns are.
LEGEND = (
    "Wins: a tie counts half. Flips: of the pairs with a winner in both orders, those whose winner changed with the "
    "order, which makes them ties. Shown first: verdicts for the answer shown first, half of them without any bias. "
    "Unread: verdicts that were none; a pair with no verdict in either order is left out. By reward: the same pairs by "
    "the run's rewards. Agree: pairs with a winner by both, and the same one."
)


def _row(one: Verdicts) -> tuple[str, ...]:
    rate = one.rate
    return (
        rate.strategy,
        str(rate.problems),
        _percent(rate.rate.value, rate.rate.low, rate.rate.high),
        f"{rate.wins}/{rate.ties}/{rate.losses}",
        _shared(one.bias.flips),
        _shared(one.bias.shown_first),
        str(one.bias.unreadable),
        "-" if (by := one.by_reward) is None else _percent(by.rate.value, by.rate.low, by.rate.high),
        _shared(one.agreement),
    )


def _agreement(judged: Sequence[Decided], rewarded: Sequence[Decided]) -> Share | None:
    rewards = {id(one.pair): one.outcome for one in rewarded}
    both = [
        one.outcome == rewards[id(one.pair)]
        for one in judged
        if one.outcome != 0.5 and rewards.get(id(one.pair), 0.5) != 0.5
    ]
    return share(both) if both else None


def _of(pair: Pair, rate: WinRate) -> bool:
    return (pair.answer.task, pair.answer.strategy) == (rate.task, rate.strategy)


def _shared(part: Share | None) -> str:
    return "-" if part is None else _percent(part.value, part.low, part.high)


def _percent(value: float, low: float, high: float) -> str:
    return f"{100 * value:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
