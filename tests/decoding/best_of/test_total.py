from __future__ import annotations

from collections.abc import Sequence

import pytest

from motet_decoding.best_of.candidate import Candidate, Need, Question
from motet_decoding.best_of.judge import Term, read_terms
from motet_decoding.best_of.scorer import ScorerError
from motet_decoding.best_of.total import TotalScorer

QUESTION = Question(prompt_ids=(1,))
CANDIDATES = [Candidate(index, "a" * index, (2,) * (index + 1), "stop") for index in range(3)]


class Fixed:
    def __init__(self, name: str, scores: Sequence[float], needs: frozenset[Need], alone: bool) -> None:
        self.name, self.scores, self.needs, self.alone = name, scores, needs, alone

    async def score(self, question: Question, candidates: Sequence[Candidate]) -> Sequence[float]:
        return [self.scores[candidate.index] for candidate in candidates]


@pytest.mark.anyio
async def test_scores_are_weighed_and_added():
    first = Fixed("first", [1.0, 2.0, 3.0], frozenset({"logprobs"}), True)
    second = Fixed("second:x", [10.0, 0.0, -10.0], frozenset({"certainty"}), False)
    total = TotalScorer([(1.0, first), (0.25, second)])
    assert list(await total.score(QUESTION, CANDIDATES)) == [3.5, 2.0, 0.5]
    assert total.name == "first+0.25*second:x"
    assert total.needs == {"logprobs", "certainty"}
    assert not total.alone


@pytest.mark.anyio
@pytest.mark.parametrize(
    "wrong", [[1.0], [1.0, 2.0, 3.0, 4.0], [1.0, float("nan"), 1.0], [1e101] * 3, None, ["a"] * 3]
)
async def test_what_cant_be_added_is_the_failure_of_who_gave_it(wrong):
    class Wrong(Fixed):
        async def score(self, question: Question, candidates: Sequence[Candidate]) -> Sequence[float]:
            return self.scores

    terms = [
        (1.0, Wrong(name, scores, frozenset(), True)) for name, scores in [("a", [1.0] * 3), ("b", wrong)]
    ]
    with pytest.raises(ScorerError, match=r"^b: gave no finite number"):
        await TotalScorer(terms).score(QUESTION, CANDIDATES)


def test_the_name_of_a_sum_tells_all_digits_of_its_weights():
    scorer = Fixed("first", [], frozenset(), True)
    assert TotalScorer([(1234.567891, scorer), (0.000001, scorer)]).name == "1234.567891*first+1e-06*first"


@pytest.mark.parametrize(
    ("name", "terms"),
    [
        ("reward", (Term(1.0, "reward"),)),
        ("2*reward:judge@1a", (Term(2.0, "reward:judge@1a"),)),
        ("reward+0.5*likelihood:sum", (Term(1.0, "reward"), Term(0.5, "likelihood:sum"))),
    ],
)
def test_a_sum_is_read(name, terms):
    assert read_terms(name) == terms


NO_SUMS = """+ reward+ reward+reward 0*reward -1*reward 1e3*reward nan*reward reward+vote a+b+c+d+e 99999*reward
reward*2"""


@pytest.mark.parametrize("name", ["", "reward + likelihood", *NO_SUMS.split()])
def test_what_is_no_sum_is_refused(name):
    with pytest.raises(ValueError, match="scorer"):
        read_terms(name)
