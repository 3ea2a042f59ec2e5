"""What a run's figures say of made-up answers of which it is known."""

from __future__ import annotations

import pytest

from motet_benchmarks.comparisons import BETTER, NO_DIFFERENCE, WORSE
from motet_benchmarks.strategies.figures import (
    EFFECTIVE,
    WILSON,
    Table,
    likings,
    lines,
    reward,
    score,
)
from motet_benchmarks.strategies.reading import Recorded
from motet_benchmarks.strategies.report.analysis import analyse, front
from motet_benchmarks.strategies.report.cautions import cautions
from motet_benchmarks.strategies.report.examples import LONGEST, PROBLEMS, cut, examples
from motet_benchmarks.strategies.report.latency import SECONDS, quantile
from motet_benchmarks.strategies.spending import costs
from motet_benchmarks.strategies.testing_runs import FAMILIES, make_run, strategies

FEW = strategies()[:5]  # plain, same, worse, better, refused


@pytest.fixture(scope="module")
def few():
    run, samples = make_run(skills=FEW, problems=90)
    return Recorded(run, tuple(samples), torn=False)


def test_the_worse_is_found_worse_and_the_equal_not_different(few):
    found = {line.strategy: line for line in lines(Table(few.run, few.samples))}
    assert list(found) == ["plain", "same", "worse", "better"]
    assert found["plain"].over_first is None
    verdicts = {name: line.over_first.verdict for name, line in found.items() if line.over_first}
    assert verdicts == {"same": NO_DIFFERENCE, "worse": WORSE, "better": BETTER}
    right = sum(sample.score for sample in few.samples if sample.strategy == "better")
    assert found["better"].score.value == pytest.approx(right / 90)
    assert found["better"].interval == WILSON


def test_families_are_parts_of_the_whole(few):
    table = Table(few.run, few.samples)
    found = [line for line in lines(table, families=True) if line.strategy == "better"]
    assert [line.family for line in found] == list(FAMILIES)
    assert [line.problems for line in found] == [30, 30, 30]
    whole = next(line for line in lines(table) if line.strategy == "better")
    assert sum(line.score.value for line in found) / 3 == pytest.approx(whole.score.value)


def test_draws_of_a_problem_are_one_figure():
    run, samples = make_run(skills=FEW[:2], problems=10, draws=4)
    table = Table(run, samples)
    plain, same = lines(table)
    assert (plain.problems, plain.answers, plain.interval) == (
        10,
        10,
        WILSON,
    )  # greedy: one answer is as good as four
    assert (same.problems, same.answers, same.interval) == (10, 40, EFFECTIVE)
    one = [sample.score for sample in samples if sample.strategy == "same" and sample.problem == "gym-3"]
    assert table.averaged("gym", "same", score)["gym-3"] == sum(one) / 4


def test_only_problems_that_both_have_answered_are_compared(few):
    # The run was killed: the first strategy has no more than these.
    rest = [
        each for each in few.samples if each.strategy != "plain" or int(each.problem.partition("-")[2]) < 40
    ]
    found = {line.strategy: line for line in lines(Table(few.run, rest))}
    assert found["better"].problems == 90
    assert found["better"].over_first.problems == 40


def test_a_refused_first_strategy_leaves_the_next_to_compare_with():
    run, samples = make_run(skills=[FEW[4], *FEW[:3]], problems=30)
    table = Table(run, samples)
    assert table.first == "plain"
    assert {line.strategy for line in lines(table) if line.over_first} == {"same", "worse"}
    assert [each.wins is None for each in likings(table)] == [True, False, False]


def test_a_refused_problem_counts_as_wrong_and_in_no_cost(few):
    run, samples = few.run, few.samples
    of = [sample for sample in samples if sample.strategy == "better"]
    right = next(sample for sample in of if sample.score == 1)
    nothing = dict.fromkeys(
        ("prompt_tokens", "answer_tokens", "generated", "scored", "forwards", "seconds"), 0
    )
    gone = {
        "text": "",
        "refusal": "too long",
        "score": 0.0,
        "reward": None,
        "first_token": None,
        "per_token": None,
    }
    changed = [sample.model_copy(update=nothing | gone) if sample is right else sample for sample in samples]
    before, after = (analyse(Recorded(run, tuple(each), torn=False)) for each in (samples, changed))
    was, is_ = (found.line("gym", "better") for found in (before, after))
    assert was.problems == is_.problems
    assert is_.score.value == pytest.approx(was.score.value - 1 / was.problems)
    cost = after.cost("gym", "better")
    assert (cost.answers, cost.refused) == (len(of) - 1, 1)
    rest = [sample.generated for sample in of if sample is not right]
    assert cost.generated.value == pytest.approx(sum(rest) / len(rest))
    assert after.latency("gym", "better", SECONDS).requests == len(of) - 1
    assert f"refused 1 of {len(of)} questions of gym, which count as wrong" in " ".join(cautions(after))
    assert {pair.answer.problem for pair in after.table.pairs() if pair.answer.strategy == "better"} == {
        sample.problem for sample in of if sample is not right
    }


def test_rewards_and_costs_are_means_over_problems(few):
    table = Table(few.run, few.samples)
    found = {each.strategy: each for each in likings(table)}
    assert found["worse"].over_first.verdict == WORSE
    assert found["worse"].wins.high < 0.5
    rewards = table.averaged("gym", "plain", reward).values()
    assert found["plain"].reward.value == pytest.approx(sum(rewards) / 90)
    spent = {each.strategy: each for each in costs(table)}
    own = [sample for sample in few.samples if sample.strategy == "plain"]
    assert spent["plain"].forwards.value == pytest.approx(sum(each.forwards for each in own) / 90)
    assert (spent["plain"].wall, spent["plain"].rate) == (None, None)
    # Each begins half a second after the one before, and takes one.
    timed = [
        sample.model_copy(update={"began": 5 + place / 2, "seconds": 1.0}) for place, sample in enumerate(own)
    ]
    plain, *others = costs(Table(few.run, [*timed, *few.samples[len(own) :]]))
    wall = (len(own) + 1) / 2
    assert (plain.wall, plain.rate) == (wall, pytest.approx(sum(each.generated for each in own) / wall))
    assert {each.wall for each in others} == {None}
    assert spent["plain"].forwards.low < spent["plain"].forwards.value < spent["plain"].forwards.high


def test_a_task_without_grader_or_judge_has_the_other_figures():
    run, samples = make_run(skills=FEW[:2], problems=5, graded=False, judge=None, streamed=False)
    found = analyse(Recorded(run, tuple(samples), torn=False))
    assert [line.score for line in found.lines] == [None, None]
    assert found.likings == []
    assert {each.measure for each in found.latencies} == {"seconds"}
    assert len(found.costs) == 2
    assert examples(found, "gym") == []


def test_the_front_holds_what_nothing_beats():
    points = [(1, 0.2), (2, 0.5), (2, 0.4), (3, 0.5), (4, 0.9), (5, 0.9), (2, 0.5)]
    assert front(points) == [True, True, False, False, True, False, True]
    assert front([]) == []


def test_costs_that_hardly_differ_are_alike_on_the_front():
    assert front([(1000, 0.5), (1009, 0.6)]) == [False, True]
    assert front([(1000, 0.5), (1011, 0.6)]) == [True, True]
    assert front([(1000, 0.5), (1009, 0.5)]) == [True, False]


def test_quantiles_have_exact_intervals_or_none():
    found = quantile([float(value) for value in range(1, 101)], 0.5)
    # Ranks 40 and 61 of a hundred hold the median with at least 95%, as binomial tables say.
    assert (found.value, found.low, found.high) == (50.5, 40.0, 61.0)
    assert quantile([float(value) for value in range(100)], 0.99).high is None
    assert quantile([1.0], 0.5) == type(found)(1.0, None, None)


def test_examples_are_where_strategies_differ(few):
    found = examples(analyse(few), "gym")
    assert len(found) == PROBLEMS
    assert all({each.standing for each in example.answers} == {"right", "wrong"} for example in found)
    assert len({example.family for example in found}) == len(FAMILIES)
    assert cut("x" * (LONGEST + 5)).endswith("… (5 more characters)")
    assert cut("short") == "short"
