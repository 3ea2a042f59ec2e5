"""Who is ranked, who is shown, and what a reader is told of figures that aren't whole."""

from __future__ import annotations

from collections import Counter

import pytest

from motet_benchmarks.results import Grid
from motet_benchmarks.strategies.figures import EFFECTIVE, likings, lines
from motet_benchmarks.strategies.reading import Recorded
from motet_benchmarks.strategies.records import Run, Sample, Strategy
from motet_benchmarks.strategies.report import tables
from motet_benchmarks.strategies.report.analysis import OF_SWEEP, SHOWN, Analysis, analyse
from motet_benchmarks.strategies.report.cautions import cautions
from motet_benchmarks.strategies.report.summary import findings, methods
from motet_benchmarks.strategies.testing_runs import make_run, strategies

FEW = strategies()[:4]  # plain, same, worse, better


def analysed(run: Run, samples: list[Sample]) -> Analysis:
    return analyse(Recorded(run, tuple(samples), torn=False))


def column(grid: Grid, title: str) -> dict[str, str]:
    return {row[0]: row[grid.columns.index(title)] for row in grid.rows}


def test_who_has_answered_fewer_problems_is_neither_highest_nor_on_the_front():
    run, samples = make_run(skills=FEW, problems=20)
    solved = {sample.problem for sample in samples if sample.strategy == "worse" and sample.score == 1}
    kept = [sample for sample in samples if sample.strategy != "worse" or sample.problem in solved]
    found = analysed(run, kept)
    assert found.line("gym", "worse").score.value == 1.0
    assert "worse" not in found.front("gym", "forwards")
    said = findings(found, "gym", "accuracy")
    assert said[0].startswith("Highest accuracy: better with")
    part = f"{len(solved)} of 20"
    assert any(f"worse ({part} problems)" in sentence for sentence in said)
    grid = tables.quality(found, "gym", "accuracy")
    assert column(grid, "problems") == {"plain": "20", "same": "20", "worse": part, "better": "20"}
    for other in tables.of_task(found, "gym", "accuracy")[1:]:
        assert f"worse ({part} problems)" in (*other.columns, *(row[0] for row in other.rows)), other.title
    assert "none is ranked that has answered fewer than others" in " ".join(cautions(found))


def test_without_a_grader_strategies_are_ranked_by_rewards():
    found = analysed(*make_run(skills=FEW, problems=60, graded=False))
    said = findings(found, "gym", "accuracy")
    assert said[1].startswith("Highest reward: better with")
    assert "Worse than plain: worse." in said
    assert "better" in found.front("gym", "forwards")
    bare = analysed(*make_run(skills=FEW, problems=5, graded=False, judge=None))
    assert findings(bare, "gym", "accuracy") == said[:1]
    assert bare.front("gym", "forwards") == []


def test_a_run_of_which_nobody_has_come_to_the_end_ranks_those_that_have_come_as_far():
    run, samples = make_run(skills=FEW, problems=20)
    found = analysed(run, [sample for sample in samples if int(sample.problem.partition("-")[2]) < 12])
    assert found.front("gym", "forwards")
    assert findings(found, "gym", "accuracy")[0].startswith(
        "Highest accuracy: better (12 of 20 problems) with"
    )


def test_a_refused_strategys_answers_do_not_stand_in_for_missing_ones():
    run, samples = make_run(skills=FEW, problems=20)
    rest = [sample for sample in samples if sample.strategy != "worse"] + samples[40:45]
    refused = run.model_copy(update={"refused": {"better": "no such model"}})
    found = analysed(refused, rest)
    assert found.facts()["answers"] == 45
    assert "The run isn't complete: 45 of 60 answers are there" in " ".join(cautions(found))


def test_the_same_answers_are_said_to_be_and_are_on_the_front_once():
    run, samples = make_run(skills=FEW, problems=20)
    again = Strategy(name="again", model="motet-sft")
    run = run.model_copy(update={"strategies": (*run.strategies, again)})
    copies = [
        sample.model_copy(update={"strategy": "again"}) for sample in samples if sample.strategy == "better"
    ]
    found = analysed(run, [*samples, *copies])
    assert found.table.twins("gym") == {"again": "better"}
    assert "better" in found.front("gym", "forwards")
    assert "again" not in found.front("gym", "forwards")
    assert "Same answers as better: again." in findings(found, "gym", "accuracy")
    # Cheaper, it takes the other's place.
    cheaper = [sample.model_copy(update={"forwards": sample.forwards - 1}) for sample in copies]
    assert "again" in analysed(run, [*samples, *cheaper]).front("gym", "forwards")


def test_a_sweep_leaves_room_for_every_other_kind():
    sweep = [
        (
            Strategy(name=f"contrast {n}", contrast={"strength": n}, sweep="contrast", point={"strength": n}),
            0.4,
        )
        for n in range(1, 8)
    ]
    best = (Strategy(name="best", best_of={"n": 8}), -0.2)
    found = analysed(*make_run(skills=[*FEW[:2], *sweep, best], problems=60))
    shown = found.shown("gym")
    assert len(shown) == SHOWN
    assert shown[0] == "plain"
    assert {"same", "best"} <= set(shown)
    # All others are shown, so the rest of the sweep has what room there is.
    assert sum(name.startswith("contrast") for name in shown) == SHOWN - 3
    more = [(Strategy(name=f"other {n}", model="motet-sft"), 0.0) for n in range(4)]
    crowded = analysed(*make_run(skills=[*FEW[:2], *sweep, best, *more], problems=60)).shown("gym")
    assert Counter(name.partition(" ")[0] for name in crowded)["contrast"] == OF_SWEEP


def test_answers_without_a_reward_are_counted_and_told():
    run, samples = make_run(skills=FEW, problems=20, draws=4)
    own = sorted((sample for sample in samples if sample.strategy == "better"), key=lambda each: each.reward)
    gone = {(each.problem, each.draw) for each in own[:10]}
    bare = [
        sample.model_copy(update={"reward": None})
        if sample.strategy == "better" and (sample.problem, sample.draw) in gone
        else sample
        for sample in samples
    ]
    found = analysed(run, bare)
    liking = next(each for each in likings(found.table) if each.strategy == "better")
    assert (liking.missing, liking.answers) == (10, 80)
    # A problem counts by the draws that have one.
    known: dict[str, list[float]] = {}
    for sample in own[10:]:
        known.setdefault(sample.problem, []).append(sample.reward)
    means = [sum(each) / len(each) for each in known.values()]
    assert liking.problems == len(means)
    assert liking.reward.value == pytest.approx(sum(means) / len(means))
    assert column(tables.rewards(found, "gym"), "answers with one")["better"] == "70 of 80"
    assert any("better: 10 of 80 answers to gym have no reward" in said for said in cautions(found))
    assert not any("have no reward" in said for said in cautions(analysed(run, samples)))


def test_a_score_of_draws_that_all_agree_leaves_some_doubt():
    run, samples = make_run(skills=FEW[1:2], problems=10, draws=4)
    for score in (1.0, 0.5):
        draws = [
            sample.model_copy(update={"score": score if score == 1 else float(sample.draw % 2)})
            for sample in samples
        ]
        (line,) = lines(analysed(run, draws).table)
        assert line.score.value == score
        assert line.score.low < score - 0.05
        assert line.score.high > min(1.0, score + 0.05) - 1e-9
    assert line.interval == EFFECTIVE


def test_costs_that_may_have_been_more_are_marked():
    early = Strategy(name="early", best_of={"n": 4, "reject": {"at": 8}})
    found = analysed(*make_run(skills=[*FEW[:1], (early, 0.0)], problems=10))
    forwards = column(tables.quality(found, "gym", "accuracy"), "forwards")
    assert forwards["early"].startswith("≥ ")
    assert not forwards["plain"].startswith("≥ ")
    assert column(tables.cost(found, "gym"), "scored")["early"] == "≥ 0.00"
    assert any("≥ marks the least" in said for said in methods(found))


def test_few_problems_of_a_family_are_counts():
    grid = tables.families(analysed(*make_run(skills=FEW, problems=9)), "gym", "accuracy")
    assert "%" not in grid.title
    assert all(cell.split()[0] in {"0/3", "1/3", "2/3", "3/3"} for row in grid.rows for cell in row[1:])
    grid = tables.families(analysed(*make_run(skills=FEW, problems=90)), "gym", "accuracy")
    assert "in % [95% interval]" in grid.title
    assert all("[" in cell for row in grid.rows for cell in row[1:])


def test_a_difference_of_rewards_of_which_nothing_is_known_has_no_bounds():
    found = analysed(*make_run(skills=FEW[:2], problems=1))
    assert column(tables.rewards(found, "gym"), "over plain")["same"].endswith("[?, ?]")
    bounds = found.facts()["rewards"][1]["over_first"]["difference"]
    assert (bounds["low"], bounds["high"]) == (None, None)
    assert "[" not in column(tables.rewards(found, "gym"), "reward")["same"]


def test_wall_time_and_speed_are_of_the_whole_run():
    run, samples = make_run(skills=FEW[:2], problems=10)
    run = run.model_copy(update={"concurrency": 4})
    # Of ten answers of a second each, five at a time: two seconds, whatever lies between them.
    plain = [
        sample.model_copy(update={"began": 1000.0 * (place // 5), "seconds": 1.0})
        for place, sample in enumerate(each for each in samples if each.strategy == "plain")
    ]
    found = analysed(run, [*plain, *(each for each in samples if each.strategy != "plain")])
    grid = tables.latency(found, "gym")
    tokens = sum(sample.generated for sample in samples if sample.strategy == "plain")
    assert column(grid, "wall, s") == {"plain": "2.0", "same": tables.NONE}
    assert column(grid, "tokens/s")["plain"] == tables.plain(tokens / 2)
    assert any("with up to 4 requests at once" in said for said in methods(found))


def test_what_changed_between_sittings_is_told():
    run, samples = make_run(skills=FEW[:2], problems=5)
    run = run.model_copy(update={"changed": ("concurrency: 16, then 4",)})
    assert any("concurrency: 16, then 4" in said for said in cautions(analysed(run, samples)))


def test_answers_that_were_cut_off_and_prompts_that_were_known_are_told():
    run, samples = make_run(skills=strategies()[:3], problems=40)
    run = run.model_copy(update={"tokens": 30, "salted": False})
    cut = [
        sample.model_copy(
            update={
                "finish": "length" if sample.strategy == "worse" else "stop",
                "counted": sample.problem == "gym-3",
            }
        )
        for sample in samples
    ]
    said = " ".join(cautions(analyse(Recorded(run, tuple(cut), torn=False))))
    assert "worse: 100% of its answers to gym were cut off at 30 tokens" in said
    assert "plain: " not in said
    assert "Of 3 answers the endpoint didn't tell the tokens" in said
    assert "can't be told to keep strategies' prompts apart" in said
    apart = run.model_copy(update={"salted": True})
    whole = [sample.model_copy(update={"finish": "stop"}) for sample in samples]
    assert cautions(analyse(Recorded(apart, tuple(whole), torn=False))) == []
