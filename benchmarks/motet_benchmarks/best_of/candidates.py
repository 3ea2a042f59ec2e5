"""A problem's candidates with what every judge says of them, and how a server is asked for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from motet_benchmarks import gym
from motet_benchmarks.best_of.plan import (
    BLEND,
    CERTAINTY,
    DIRECT,
    IMPLICIT,
    LIKELIHOOD,
    REWARD,
    TOTAL,
    WORKED,
    Plan,
    Recipe,
)
from motet_benchmarks.endpoint import CHAT, Endpoint, together
from motet_benchmarks.errors import BenchmarkError

#: Judges that score while the candidates are chosen among, beside the reward that chooses.
REPORTED = (LIKELIHOOD, TOTAL, CERTAINTY, IMPLICIT)
#: The policy's own distribution, untouched.
DRAWN = {"temperature": 1.0, "top_p": 1.0, "top_k": 0}


@dataclass(frozen=True, slots=True)
class Pool:
    """One problem's candidates."""

    family: str
    key: str
    kind: str
    texts: tuple[str, ...]
    tokens: tuple[int, ...]
    right: tuple[bool, ...]
    scores: Mapping[str, tuple[float, ...]]
    """By judge, a number a candidate."""
    chosen: int
    """The one that the server gave for the answer, by the reward."""
    greedy: bool
    """Whether the policy's greedy answer is right."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a recipe brought on one problem."""

    right: bool
    tokens: int
    """Generated for all its candidates, those that were dropped included."""
    rejected: int


async def pools(
    endpoint: Endpoint, plan: Plan, kind: str, done: Callable[[], None] = lambda: None
) -> list[Pool]:
    """The candidates of all problems of a kind, and their greedy answers.

    Raises BenchmarkError where the endpoint doesn't answer as it should.
    """
    places = asyncio.Semaphore(plan.together)

    async def one(number: int, problem: gym.Instance) -> Pool:
        asked = {
            "n": plan.n,
            "by": plan.judge(REWARD),
            "report": [plan.judge(name) for name in REPORTED],
            "candidates": True,
        }
        async with places:
            greedy = await endpoint.post(CHAT, _body(plan, problem, temperature=0.0))
            drawn = await endpoint.post(
                CHAT, _body(plan, problem, **DRAWN, seed=_seed(plan, number), best_of=asked)
            )
        done()
        return read_pool(plan, problem, drawn, greedy)

    return await together([one(number, problem) for number, problem in enumerate(plan.problems(kind))])


async def tried(
    endpoint: Endpoint, plan: Plan, recipe: Recipe, done: Callable[[], None] = lambda: None
) -> list[Found]:
    """What `recipe` makes of the same problems, from the same seeds.

    Raises BenchmarkError where the endpoint doesn't answer as it should.
    """
    places = asyncio.Semaphore(plan.together)

    async def one(number: int, problem: gym.Instance) -> Found:
        asked = {"n": plan.n, "by": plan.judge(recipe.judge), **_named(plan, recipe.settings)}
        async with places:
            answer = await endpoint.post(
                CHAT, _body(plan, problem, **DRAWN, seed=_seed(plan, number), best_of=asked)
            )
        done()
        told = _told(answer)
        return Found(problem.grade(said(answer)), int(told["tokens"]), int(told["rejected"]))

    return await together([one(number, problem) for number, problem in enumerate(plan.problems(recipe.kind))])


def read_pool(plan: Plan, problem: gym.Instance, drawn: Any, greedy: Any) -> Pool:
    """A pool from the server's answers. Raises BenchmarkError where they aren't what was asked for."""
    told = _told(drawn)
    try:
        listed = sorted(told["texts"], key=lambda each: int(each["index"]))
        scores = {REWARD: told["scores"], **{name: told["report"][plan.judge(name)] for name in REPORTED}}
        scores[BLEND] = [one + other for one, other in zip(scores[REWARD], scores[TOTAL], strict=True)]
        pool = Pool(
            family=problem.family,
            key=problem.key,
            kind=WORKED if problem.worked else DIRECT,
            texts=tuple(str(each["text"]) for each in listed),
            tokens=tuple(int(each["tokens"]) for each in listed),
            right=tuple(problem.grade(str(each["text"])) for each in listed),
            scores={name: tuple(float(score) for score in each) for name, each in scores.items()},
            chosen=int(told["choices"][0]),
            greedy=problem.grade(said(greedy)),
        )
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise BenchmarkError(f"{CHAT}: motet.best_of isn't what was asked for: {error!r}") from None
    if {len(pool.texts), *map(len, pool.scores.values())} != {plan.n}:
        raise BenchmarkError(f"{CHAT}: {len(pool.texts)} candidates came where {plan.n} were asked for")
    if pool.texts[pool.chosen] != said(drawn):
        raise BenchmarkError(
            f"{CHAT}: the answer isn't the text of candidate {pool.chosen}, which was chosen"
        )
    return pool


def said(answer: Any) -> str:
    """The text of the first choice. Raises BenchmarkError where there is none."""
    try:
        return answer["choices"][0]["message"]["content"] or ""
    except (KeyError, IndexError, TypeError) as error:
        raise BenchmarkError(f"{CHAT}: not an OpenAI answer: {error!r}") from None


def _told(answer: Any) -> Mapping[str, Any]:
    told = (answer.get("motet") or {}).get("best_of") if isinstance(answer, dict) else None
    if not isinstance(told, dict):
        raise BenchmarkError(f"{CHAT}: answered without the best_of that it was asked for")
    return told


def _body(plan: Plan, problem: gym.Instance, **more: Any) -> dict[str, Any]:
    return {"model": plan.policy, "messages": problem.messages(), "max_tokens": plan.tokens, **more}


def _seed(plan: Plan, number: int) -> int:
    return 1_000_000 * plan.seed + number


def _named(plan: Plan, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with judges as a request names them."""
    return {
        name: {**value, "by": plan.judge(value["by"])} if isinstance(value, dict) and "by" in value else value
        for name, value in settings.items()
    }


def total(pools: Sequence[Pool]) -> list[float]:
    """Tokens of all candidates, by problem."""
    return [float(sum(pool.tokens)) for pool in pools]
