"""The two scorers that need nothing but what the engine says of its own tokens."""

from __future__ import annotations

import pytest

from motet_decoding.best_of.candidate import Candidate, Question
from motet_decoding.best_of.certainty import CertaintyScorer
from motet_decoding.best_of.likelihood import LikelihoodScorer
from motet_decoding.best_of.scorer import ScorerError

pytestmark = pytest.mark.anyio

QUESTION = Question((1, 2))


def candidate(index: int, *logprobs: float, certainty: float | None = None) -> Candidate:
    return Candidate(index, "text", tuple(range(len(logprobs))), "stop", logprobs, certainty)


async def test_a_mean_does_not_favour_the_short_and_a_sum_does():
    short, long = candidate(0, -1.0), candidate(1, -0.5, -0.5, -0.5, -0.5)
    assert list(await LikelihoodScorer(total=False).score(QUESTION, [short, long])) == [-1.0, -0.5]
    assert list(await LikelihoodScorer(total=True).score(QUESTION, [short, long])) == [-1.0, -2.0]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (candidate(7), "candidate 7 has no tokens"),
        (Candidate(7, "text", (1, 2)), "candidate 7 has no log-probabilities"),
        (candidate(7, -1.0, -float("inf")), "candidate 7 has a token that the model could not have written"),
        (candidate(7, float("nan")), "candidate 7 has a token"),
    ],
)
@pytest.mark.parametrize("total", [False, True])
async def test_what_has_no_likelihood_is_an_error_and_not_the_best(wrong, says, total):
    with pytest.raises(ScorerError, match=says):
        await LikelihoodScorer(total).score(QUESTION, [candidate(0, -1.0), wrong])


async def test_certainty_is_the_one_that_was_measured():
    found = await CertaintyScorer().score(
        QUESTION, [candidate(0, certainty=1.5), candidate(1, certainty=0.5)]
    )
    assert list(found) == [1.5, 0.5]
    for nothing in (None, float("nan")):
        with pytest.raises(ScorerError, match="certainty: candidate 3 carries none"):
            await CertaintyScorer().score(QUESTION, [candidate(3, certainty=nothing)])


def test_they_are_scored_as_soon_as_they_end_by_what_they_carry():
    assert LikelihoodScorer(total=True).needs == {"logprobs"}
    assert CertaintyScorer().needs == {"certainty"}
    assert LikelihoodScorer(total=False).alone
    assert CertaintyScorer().alone
