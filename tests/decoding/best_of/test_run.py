from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import permutations
from typing import Any

import pytest

from motet_decoding.best_of.candidate import Candidate, Need, Question
from motet_decoding.best_of.likelihood import LikelihoodScorer
from motet_decoding.best_of.once import OnceScorer
from motet_decoding.best_of.request import parse_best_of
from motet_decoding.best_of.run import Jury, choose
from motet_decoding.best_of.scorer import ScorerError
from motet_decoding.best_of.testing import ScriptedSource
from motet_decoding.best_of.vote import Extractor

from .contests import ANSWERS, QUESTION, Longest, asked, chosen


@pytest.mark.anyio
@pytest.mark.parametrize("alone", [True, False])
async def test_the_best_come_first_whoever_ends_first(alone):
    for order in permutations(range(4)):
        source = ScriptedSource(ANSWERS, delay=lambda index, _, order=order: 3 * order[index])
        choice = await chosen(asked(), Jury(Longest(alone)), source)
        assert [winner.index for winner in choice.winners] == [1, 2, 3, 0]
        assert choice.scores == (1.0, 8.0, 5.0, 3.0)
        assert choice.drawn.tokens == sum(len(text) + 1 for text in ANSWERS.values())


@pytest.mark.anyio
async def test_a_candidate_is_scored_while_others_are_still_drawn():
    scorer = Longest()
    seen: list[int] = []

    def delay(index: int, _: int) -> int:
        return 0 if index < 3 else 50

    class Watching(ScriptedSource):
        async def draw(self, index: int, **options: Any) -> Candidate:
            candidate = await super().draw(index, **options)
            if index == 3:
                seen.extend(scorer.scored)
            return candidate

    await chosen(asked(), Jury(scorer), Watching(ANSWERS, delay=delay))
    assert sorted(seen) == [0, 1, 2]


@pytest.mark.anyio
async def test_the_best_so_far_is_told_whenever_it_changes():
    told: list[tuple[int, float]] = []
    source = ScriptedSource(ANSWERS, delay=lambda index, _: 10 * index)
    await chosen(
        asked(), Jury(Longest()), source, lambda candidate, score: told.append((candidate.index, score))
    )
    assert told == [(0, 1.0), (1, 8.0)]


@pytest.mark.anyio
async def test_of_equals_the_first_is_told_whichever_ends_first():
    told: list[int] = []
    source = ScriptedSource({0: "ab", 1: "cd", 2: "ef"}, delay=lambda index, _: 10 * (2 - index))
    await chosen(asked(n=3), Jury(Longest()), source, lambda candidate, score: told.append(candidate.index))
    assert told == [2, 1, 0]


@pytest.mark.anyio
async def test_as_many_are_kept_from_rejection_as_are_wanted_back():
    best_of = asked(reject={"at": 1, "share": 0.9}, **{"return": 3})
    choice = await chosen(best_of, Jury(Longest(), Longest()))
    assert len(choice.winners) == 3


@pytest.mark.anyio
async def test_a_plain_vote_is_decided_by_answers_alone():
    choice = await chosen(asked(by="vote"), Jury(None, extractor=Extractor(None)))
    assert [winner.index for winner in choice.winners] == [1, 0, 3, 2]
    assert choice.answers == ("7", "42", None, "42")
    assert choice.scores == (1.0, 2.0, None, 2.0)


@pytest.mark.anyio
async def test_a_weighted_vote_counts_what_the_scorer_says():
    best_of = asked(by="vote:longest", vote={"weights": "score"})
    choice = await chosen(best_of, Jury(Longest(), extractor=Extractor(None)))
    assert choice.scores == (1.0, 11.0, None, 11.0)
    assert [winner.index for winner in choice.winners][:2] == [1, 0]


@pytest.mark.anyio
async def test_reports_decide_nothing():
    choice = await chosen(asked(), Jury(Longest(), reports={"other": Longest(alone=False)}))
    assert choice.reports == {"other": (1.0, 8.0, 5.0, 3.0)}
    assert choice.winners[0].index == 1


@pytest.mark.anyio
@pytest.mark.parametrize("alone", [True, False])
async def test_a_scorer_that_fails_ends_the_request_and_every_draw(alone):
    source = ScriptedSource(ANSWERS, delay=lambda index, _: 0 if index < 3 else 10**6 if alone else 0)
    with pytest.raises(ScorerError, match="no score for 1"):
        await chosen(asked(), Jury(Longest(alone, fails=[1])), source)
    assert source.running == 0
    drawn = [text for index, text in ANSWERS.items() if index < 3 or not alone]
    assert source.tokens == sum(len(text) + 1 for text in drawn)  # nobody waited for the slow one


@pytest.mark.anyio
async def test_who_leaves_leaves_nothing_running():
    before = asyncio.all_tasks()
    source = ScriptedSource(ANSWERS, delay=lambda index, _: 0 if index < 2 else 10**6)
    task = asyncio.ensure_future(chosen(asked(), Jury(Longest(slow=True)), source))
    while source.running != 2:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert source.running == 0
    assert asyncio.all_tasks() == before


@pytest.mark.anyio
async def test_steps_decide_by_what_they_found_a_beam_worth():
    """The scorer of steps decides among the complete, too, by its rule: the least of an answer's steps."""

    asked_for: list[str] = []

    class Told:
        name, needs, alone = "told", frozenset[Need](), True

        async def score(self, question: Question, candidates: Sequence[Candidate]) -> Sequence[float]:
            values = {"a\n": 9.0, "b\n": 5.0, "a\nx": 1.0, "b\ny": 6.0}
            asked_for.extend(candidate.text for candidate in candidates)
            return [values[candidate.text] for candidate in candidates]

    texts = {"": ["a\n", "b\n"], "a\n": ["x"], "b\n": ["y"]}
    source = ScriptedSource(lambda begun, index, part: texts[begun][index % len(texts[begun])])
    best_of = parse_best_of({"n": 2, "steps": {"width": 2, "score": "min"}})
    choice = await choose(source, QUESTION, best_of, Jury(Told(), Told()))
    assert [winner.text for winner in choice.winners] == ["b\ny", "a\nx"]
    assert sorted(score for score in choice.scores if score is not None) == [1.0, 5.0]
    assert sorted(asked_for) == ["a\n", "a\nx", "b\n", "b\ny"]  # each of them once


@pytest.mark.anyio
@pytest.mark.parametrize("alone", [True, False])
async def test_equal_candidates_are_scored_once_where_each_is_looked_at_alone(alone):
    scorer = Longest(alone)
    source = ScriptedSource({0: "a", 1: "bb", 2: "bb", 3: "a"}, delay=lambda index, _: 10 - index)
    choice = await chosen(asked(), Jury(OnceScorer(scorer)), source)
    assert choice.scores == (1.0, 2.0, 2.0, 1.0)
    assert [winner.index for winner in choice.winners] == [1, 2, 0, 3]
    assert len(scorer.scored) == (2 if alone else 4)


@pytest.mark.anyio
async def test_numbers_that_cant_be_compared_are_a_failure():
    class Odd(Longest):
        async def score(self, question: Question, candidates: Sequence[Candidate]) -> Sequence[float]:
            return [float("nan")] * len(candidates)

    with pytest.raises(ScorerError, match="longest"):
        await chosen(asked(), Jury(Odd()))
    with pytest.raises(ScorerError, match="longest"):
        await chosen(asked(), Jury(Longest(), reports={"odd": Odd()}))


@pytest.mark.anyio
async def test_another_scorer_of_steps_leaves_the_choice_to_by():
    source = ScriptedSource(lambda begun, index, part: "a" * (index + 1))
    best_of = parse_best_of({"n": 2, "steps": {"width": 2, "by": "other"}})

    class Shortest(Longest):
        async def score(self, question: Question, candidates: Sequence[Candidate]) -> Sequence[float]:
            return [-score for score in await super().score(question, candidates)]

    choice = await choose(source, QUESTION, best_of, Jury(Longest(), Shortest()))
    assert choice.winners[0].text == "aa"


@pytest.mark.anyio
async def test_equal_candidates_share_the_first_ones_likelihood_whichever_ends_first():
    """An engine tells those of equal tokens with the noise of their batches."""

    class Noisy(ScriptedSource):
        async def draw(self, index: int, **options: Any) -> Candidate:
            candidate = await super().draw(index, **options)
            noise = {0: -1.0, 1: -0.999, 2: -1.001, 3: -0.9995}[index]
            return replace(candidate, logprobs=tuple(noise for _ in candidate.token_ids))

    for order in permutations(range(4)):
        source = Noisy(
            {0: "one", 1: "two", 2: "two", 3: "one"}, delay=lambda index, _, order=order: 3 * order[index]
        )
        choice = await chosen(asked(), Jury(LikelihoodScorer(total=False)), source)
        assert choice.scores == pytest.approx((-1.0, -0.999, -0.999, -1.0), abs=1e-12)
        assert [winner.index for winner in choice.winners] == [1, 2, 0, 3]


@pytest.mark.anyio
async def test_numbers_of_others_are_told_as_pythons():
    class Other(Longest):
        async def score(self, question: Question, candidates: Sequence[Candidate]) -> Sequence[Any]:
            return [Fraction(1, 2) for _ in candidates]

    choice = await chosen(asked(), Jury(Other(alone=False)))
    assert [type(score) for score in choice.scores] == [float] * 4
