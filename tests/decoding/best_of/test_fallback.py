"""What is chosen where the scorer fails and the request takes the likelihood for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from motet_decoding.best_of.candidate import Candidate, Question
from motet_decoding.best_of.request import parse_best_of
from motet_decoding.best_of.run import Jury, choose
from motet_decoding.best_of.scorer import ScorerError
from motet_decoding.best_of.testing import ScriptedSource
from motet_decoding.best_of.vote import Extractor

from .contests import ANSWERS, QUESTION, Likely, Longest, asked, chosen


class Until(Longest):
    """Scores by ``worth`` until it is asked for what ``fails``; then never again."""

    def __init__(self, worth: Callable[[str], float], fails: Callable[[str], bool]) -> None:
        super().__init__()
        self.worth, self.fails_at = worth, fails

    async def score(self, question: Question, candidates: Sequence[Candidate]) -> Sequence[float]:
        if any(self.fails_at(candidate.text) for candidate in candidates):
            raise ScorerError("no more")
        return [self.worth(candidate.text) for candidate in candidates]


@pytest.mark.anyio
async def test_where_a_scorer_fails_on_the_way_nobody_is_rejected_by_two_scales():
    """Candidate 0 is complete at the first checkpoint: by its length it would stay, by its likelihood it goes."""
    best_of = asked(on_error="likelihood", reject={"at": [2, 4], "share": 0.34})
    scorer = Until(lambda text: -float(len(text)), lambda text: len(text) > 2)
    source = Likely({0: "a", 1: "b" * 8, 2: "c" * 8, 3: "d" * 8})
    choice = await chosen(best_of, Jury(scorer, scorer), source)
    assert [each.candidate.index for each in choice.drawn.rejected] == [3, 0]
    assert [winner.index for winner in choice.winners] == [2, 1]


@pytest.mark.anyio
@pytest.mark.parametrize("rule", ["last", "min", "product"])
async def test_where_a_scorer_fails_between_steps_no_beam_stays_by_two_scales(rule):
    """The first beam is complete and worth 5 by the scorer: more than any likelihood."""

    class Source(ScriptedSource):
        async def draw(self, index: int, **options: Any) -> Candidate:
            candidate = await super().draw(index, **options)
            likely = {"x": -4.0, "y": -2.0, "z": -3.0}
            return replace(candidate, logprobs=tuple(likely[candidate.text[0]] for _ in candidate.token_ids))

    texts = {"": ["x", "y\n", "z\n", "z\n"], "y\n": ["1", "2"], "z\n": ["3", "4"]}
    source = Source(lambda begun, index, part: texts[begun][index % len(texts[begun])])
    worth = {"x": 5.0, "y\n": 4.0, "z\n": 3.0}
    scorer = Until(worth.__getitem__, lambda text: text not in worth)
    best_of = parse_best_of({"n": 4, "on_error": "likelihood", "steps": {"width": 2, "score": rule}})
    choice = await choose(source, QUESTION, best_of, Jury(scorer, scorer))
    assert choice.failed == "no more"
    assert [winner.text for winner in choice.winners] == ["y\n1", "y\n2"]


@pytest.mark.anyio
@pytest.mark.parametrize("alone", [True, False])
async def test_the_likelihood_decides_where_the_request_says_so(alone):
    best_of = asked(on_error="likelihood")
    jury = Jury(Longest(alone, fails=[2]))
    assert "logprobs" in jury.needs(best_of)
    choice = await chosen(best_of, jury, Likely(ANSWERS))
    assert [winner.index for winner in choice.winners] == [3, 2, 1, 0]
    assert choice.failed == "no score for 2"


@pytest.mark.anyio
async def test_partial_scores_fall_back_with_the_rest():
    best_of = asked(on_error="likelihood", reject={"at": 1, "share": 0.5})
    failing = Longest(fails=[0])
    choice = await chosen(best_of, Jury(failing, failing), Likely(ANSWERS))
    assert choice.winners[0].index == 3
    assert choice.failed is not None


@pytest.mark.anyio
async def test_a_scorer_that_has_failed_once_decides_nothing_any_more():
    """The partial answers' fails at first; whole answers would be scored by then."""

    class Late(Longest):
        async def score(self, question: Question, candidates: Sequence[Candidate]) -> Sequence[float]:
            if any(candidate.finish_reason is None for candidate in candidates):
                raise ScorerError("not yet")
            return await super().score(question, candidates)

    best_of = asked(on_error="likelihood", reject={"at": 1, "share": 0.5})
    choice = await chosen(best_of, Jury(Late(), Late()), Likely(ANSWERS))
    assert choice.failed == "not yet"
    assert [winner.index for winner in choice.winners] == [3]
    assert choice.scores == (-7.0,)


@pytest.mark.anyio
async def test_a_plain_vote_counts_voices_even_where_the_scorer_of_partial_answers_failed():
    best_of = asked(by="vote", on_error="likelihood", reject={"at": 2, "share": 0.25, "by": "longest"})
    choice = await chosen(
        best_of, Jury(None, Longest(fails=[2]), extractor=Extractor(None)), Likely({**ANSWERS, 0: "42!"})
    )
    assert choice.scores == (2.0, None, 2.0)
    assert choice.failed == "no score for 2"


@pytest.mark.anyio
@pytest.mark.parametrize("weights", ["softmax", "sigmoid", "score", "borda"])
async def test_where_likelihoods_weigh_the_votes_more_voices_still_count_for_more(weights):
    """Likelihoods are negative: added up, two alike would count for less than one."""
    best_of = asked(by="vote:longest", vote={"weights": weights}, on_error="likelihood")
    choice = await chosen(best_of, Jury(Longest(fails=[0]), extractor=Extractor(None)), Likely(ANSWERS))
    assert [winner.index for winner in choice.winners] == [3, 0, 1, 2]
