"""Accuracy against N, judge by judge, from one set of candidates a problem."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from statistics import fmean

from motet_benchmarks.best_of.candidates import Pool
from motet_benchmarks.best_of.estimators import best_of, divergence_bound, poll, voted
from motet_benchmarks.best_of.plan import ORACLE, PATTERN, REWARD, VOTE, WEIGHTED, Plan
from motet_benchmarks.statistics import Interval, means
from motet_decoding.best_of.vote import Extractor


@dataclass(frozen=True, slots=True)
class Point:
    """The best of so many by one judge, on one set of problems."""

    group: str
    """A kind of problems, or a kind and a family."""
    judge: str
    n: int
    problems: int
    accuracy: Interval
    over_one: Interval
    """What a single candidate is less right than this, on the same problems."""
    over_greedy: Interval
    tokens: float
    """Generated for a problem, in the mean."""
    divergence: float
    """At most so many nats from the policy."""
    reward: float | None
    """Expected, of what is chosen; None for a vote."""


@dataclass(frozen=True, slots=True)
class Estimates:
    """What one judge's choice among K would be, by K and then by problem."""

    accuracy: Mapping[int, list[float]]
    reward: Mapping[int, list[float]] | None


def judges(pools: Sequence[Pool]) -> list[str]:
    """All of them, those with scores first."""
    return [*pools[0].scores, VOTE, WEIGHTED, ORACLE]


def estimates(pools: Sequence[Pool], judge: str, plan: Plan) -> Estimates:
    """What `judge` would choose among each of the plan's sizes. Raises KeyError for a judge that said nothing."""
    rights = [[float(one) for one in pool.right] for pool in pools]
    if judge in (VOTE, WEIGHTED):
        answers = Extractor(PATTERN)
        polls = [
            poll(
                [answers.answer(text) for text in pool.texts],
                pool.scores[REWARD] if judge == WEIGHTED else None,
            )
            for pool in pools
        ]
        return Estimates(
            {
                k: [
                    voted(hold, right, k, subsets=plan.subsets, seed=plan.seed)
                    for hold, right in zip(polls, rights, strict=True)
                ]
                for k in plan.sizes
            },
            None,
        )
    scores = rights if judge == ORACLE else [pool.scores[judge] for pool in pools]
    rewards = [pool.scores[REWARD] for pool in pools]

    def expected(values: Sequence[Sequence[float]]) -> dict[int, list[float]]:
        return {
            k: [best_of(score, value, k) for score, value in zip(scores, values, strict=True)]
            for k in plan.sizes
        }

    return Estimates(expected(rights), expected(rewards))


def points(group: str, pools: Sequence[Pool], plan: Plan) -> list[Point]:
    """Every judge at every size on these problems. Raises ValueError without any."""
    if not pools:
        raise ValueError(f"{group}: no problems")
    known = {judge: estimates(pools, judge, plan) for judge in judges(pools)}
    single = [fsum(pool.right) / len(pool.right) for pool in pools]
    greedy = [float(pool.greedy) for pool in pools]
    keys = [(judge, k) for judge in known for k in plan.sizes]
    columns = [known[judge].accuracy[k] for judge, k in keys]
    count = len(columns)
    found = means(
        [
            *columns,
            *([one - other for one, other in zip(column, single, strict=True)] for column in columns),
            *([one - other for one, other in zip(column, greedy, strict=True)] for column in columns),
        ],
        seed=plan.seed,
    )
    each = fmean(fsum(pool.tokens) / len(pool.tokens) for pool in pools)
    made = []
    for place, (judge, k) in enumerate(keys):
        rewards = known[judge].reward
        made.append(
            Point(
                group=group,
                judge=judge,
                n=k,
                problems=len(pools),
                accuracy=found[place],
                over_one=found[count + place],
                over_greedy=found[2 * count + place],
                tokens=k * each,
                divergence=divergence_bound(k),
                reward=None if rewards is None else fmean(rewards[k]),
            )
        )
    return made


def greedy(pools: Sequence[Pool], *, seed: int = 0) -> Interval:
    """The greedy answers' accuracy."""
    return means([[float(pool.greedy) for pool in pools]], seed=seed)[0]


def families(kind: str, pools: Sequence[Pool], plan: Plan) -> list[Point]:
    """The same points, family by family."""
    names = dict.fromkeys(pool.family for pool in pools)
    return [
        point
        for name in names
        for point in points(f"{kind}/{name}", [pool for pool in pools if pool.family == name], plan)
    ]
