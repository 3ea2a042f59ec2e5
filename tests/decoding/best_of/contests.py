"""Best-of-N over scripted candidates, for tests."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from motet_decoding.best_of.candidate import Candidate, Need, Question
from motet_decoding.best_of.request import BestOf, parse_best_of
from motet_decoding.best_of.run import Choice, Jury, choose
from motet_decoding.best_of.scorer import ScorerError
from motet_decoding.best_of.testing import ScriptedSource

QUESTION = Question(prompt_ids=(1, 2))
ANSWERS = {0: "7", 1: "it is 42", 2: "seven", 3: "42."}


class Longest:
    """Scores by length; the candidates that it has scored, in order."""

    def __init__(self, alone: bool = True, fails: Sequence[int] = (), slow: bool = False) -> None:
        self.name, self.alone = "longest", alone
        self.needs: frozenset[Need] = frozenset()
        self.fails, self.slow = fails, slow
        self.scored: list[int] = []

    async def score(self, question: Question, candidates: Sequence[Candidate]) -> Sequence[float]:
        assert question is QUESTION
        if self.slow:
            await asyncio.sleep(60)
        for candidate in candidates:
            if candidate.index in self.fails:
                raise ScorerError(f"no score for {candidate.index}")
            self.scored.append(candidate.index)
        return [float(len(candidate.text)) for candidate in candidates]


class Likely(ScriptedSource):
    """Whose candidates are the likelier the higher their index."""

    async def draw(self, index: int, **options: Any) -> Candidate:
        candidate = await super().draw(index, **options)
        return replace(candidate, logprobs=tuple(float(index) - 10 for _ in candidate.token_ids))


def asked(**fields: Any) -> BestOf:
    return parse_best_of({"n": 4, **fields})


async def chosen(
    best_of: BestOf, jury: Jury, source: ScriptedSource | None = None, tell: Any = None
) -> Choice:
    return await choose(source or ScriptedSource(ANSWERS), QUESTION, best_of, jury, tell)
