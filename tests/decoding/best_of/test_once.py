from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from motet_decoding.best_of.candidate import Candidate, Need, Question
from motet_decoding.best_of.once import OnceScorer
from motet_decoding.best_of.scorer import ScorerError

QUESTION, OTHER = Question(prompt_ids=(1,)), Question(prompt_ids=(2,))


def candidate(index: int, text: str) -> Candidate:
    return Candidate(index, text, tuple(map(ord, text)), "stop")


class Counting:
    name = "counting"

    def __init__(self, needs: frozenset[Need] = frozenset(), alone: bool = True, fails: bool = False) -> None:
        self.needs, self.alone, self.fails = needs, alone, fails
        self.asked: list[int] = []
        self.waiting = asyncio.Event()
        self.waiting.set()

    async def score(self, question: Question, candidates: Sequence[Candidate]) -> Sequence[float]:
        self.asked += [each.index for each in candidates]
        await self.waiting.wait()
        if self.fails:
            raise ScorerError("broken")
        return [float(len(each.text)) for each in candidates]


@pytest.mark.anyio
async def test_equal_candidates_are_asked_for_once_whoever_asks():
    counting = Counting()
    once = OnceScorer(counting)
    first = await once.score(QUESTION, [candidate(0, "aa"), candidate(1, "b"), candidate(2, "aa")])
    second = await once.score(QUESTION, [candidate(3, "b"), candidate(4, "ccc")])
    assert (list(first), list(second)) == ([2.0, 1.0, 2.0], [1.0, 3.0])
    assert len(counting.asked) == 3
    await once.score(OTHER, [candidate(5, "b")])
    assert counting.asked[-1] == 5  # another prompt's


@pytest.mark.anyio
@pytest.mark.parametrize("counting", [Counting(frozenset({"logprobs"})), Counting(alone=False)])
async def test_what_may_differ_is_asked_for_each(counting):
    await OnceScorer(counting).score(QUESTION, [candidate(0, "a"), candidate(1, "a")])
    assert counting.asked == [0, 1]


@pytest.mark.anyio
async def test_who_waits_for_anothers_call_shares_its_end():
    counting = Counting()
    counting.waiting.clear()
    once = OnceScorer(counting)
    tasks = [asyncio.ensure_future(once.score(QUESTION, [candidate(index, "a")])) for index in range(3)]
    while not counting.asked:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    tasks[1].cancel()
    await asyncio.gather(tasks[1], return_exceptions=True)
    counting.waiting.set()
    assert list(await tasks[0]) == list(await tasks[2]) == [1.0]
    assert counting.asked == [0]


@pytest.mark.anyio
async def test_a_failure_is_everybodys_and_is_not_remembered():
    counting = Counting(fails=True)
    counting.waiting.clear()
    once = OnceScorer(counting)
    tasks = [asyncio.ensure_future(once.score(QUESTION, [candidate(index, "a")])) for index in range(2)]
    while not counting.asked:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    counting.waiting.set()
    for found in await asyncio.gather(*tasks, return_exceptions=True):
        assert isinstance(found, ScorerError)
    counting.fails = False
    assert list(await once.score(QUESTION, [candidate(2, "a")])) == [1.0]
