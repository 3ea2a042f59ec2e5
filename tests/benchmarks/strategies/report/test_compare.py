"""Two runs: what is noise, what isn't, and what can't be compared."""

from __future__ import annotations

import pytest
from typer import Typer
from typer.testing import CliRunner

from motet_benchmarks.strategies.compare import changes, differing
from motet_benchmarks.strategies.reading import Recorded
from motet_benchmarks.strategies.report import cli
from motet_benchmarks.strategies.testing_runs import make_run, strategies, write_run

FEW = strategies()[:4]
#: The same, but for "better", which is no longer better.
FALLEN = [(each, 0.0 if each.name == "better" else gain) for each, gain in FEW]


def recorded(**options) -> Recorded:
    run, samples = make_run(**{"problems": 60, "skills": FEW, **options})
    return Recorded(run, tuple(samples), torn=False)


def verdicts(found, figure="score, %"):
    return {each.strategy: each.verdict for each in found if each.figure.title == figure}


def test_a_fall_is_told_from_noise():
    found = changes(recorded(), recorded(skills=FALLEN, luck=1))
    assert verdicts(found) == {"plain": "noise", "same": "noise", "worse": "noise", "better": "lower"}
    assert set(verdicts(found, "tokens generated").values()) == {"noise"}
    assert all(each.pairs and each.comparison.problems == 60 for each in found)


def test_runs_of_other_problems_are_compared_mean_by_mean():
    few = [FEW[0], FEW[3]], [FALLEN[0], FALLEN[3]]
    found = changes(recorded(problems=60, skills=few[0]), recorded(problems=130, seed=1, skills=few[1]))
    # Ids and prompts are the same for as many as the smaller run has, which is less than half of the larger.
    assert not any(each.pairs for each in found)
    assert verdicts(found) == {"plain": "noise", "better": "lower"}


def test_an_id_with_another_prompt_is_another_problem():
    before = recorded(problems=5, skills=FEW[:1])
    moved = [each.model_copy(update={"prompt": f"{each.prompt} Now!"}) for each in before.samples]
    found = changes(before, Recorded(before.run, tuple(moved), torn=False))
    assert not any(each.pairs for each in found)


def test_what_runs_were_not_asked_alike_is_said():
    before, after = recorded(), recorded(seed=3, judge=None, skills=[*FEW[:3], *strategies()[5:6]])
    said = differing(before, after)
    assert "seed: 0, then 3" in said
    assert "judge: motet-reward, then None" in said
    assert "gym hasn't the same problems and grader in both" in said
    assert "only the first has better" in said
    assert "only the second has best-of-1" in said
    assert differing(before, before) == []


def test_what_one_of_the_runs_lacks_is_said():
    before = recorded(tasks=("gym", "other"))
    run = before.run.model_copy(
        update={
            "tasks": before.run.tasks[:1],
            "refused": {**before.run.refused, "better": "no such adapter"},
            "concurrency": 4,
            "changed": ("stream True, then False",),
        }
    )
    kept = [sample for sample in before.samples if sample.task == "gym" and sample.problem != "gym-7"]
    after = Recorded(run, tuple(kept), torn=False)
    said = differing(before, after)
    assert "better was refused in the second alone: no such adapter" in said
    assert "only the first has other" in said
    assert "concurrency: None, then 4" in said
    assert "the second has not one sitting: stream True, then False" in said
    served = len(run.strategies) - len(run.refused)
    problems = before.run.tasks[0].problems
    assert f"the second isn't complete: {served * (problems - 1)} of {served * problems} answers" in said


def run(*words: object):
    app = Typer()
    app.command()(cli.compare)
    return CliRunner().invoke(app, [str(word) for word in words])


def test_one_problem_says_nothing_of_how_far_figures_differ(tmp_path):
    before, after = (
        write_run(tmp_path / str(luck), *make_run(skills=FEW[:1], problems=1, luck=luck)) for luck in (0, 1)
    )
    assert run(before, after).exit_code == 0
    rows = (after / "compare.md").read_text().splitlines()
    (seconds,) = [row for row in rows if row.startswith("| plain | seconds |")]
    assert "[?, ?]" in seconds
    (score,) = [row for row in rows if row.startswith("| plain | score, % |")]
    assert "?" not in score


def test_the_command_prints_the_table_and_writes_the_page(tmp_path):
    before = write_run(tmp_path / "before", *make_run(skills=FEW[2:], problems=30))
    after = write_run(tmp_path / "after", *make_run(skills=FALLEN[2:], problems=30, luck=1))
    outcome = run(before, after, "--out", tmp_path / "out")
    assert outcome.exit_code == 0, outcome.output
    assert "lower" in outcome.output
    page = (tmp_path / "out" / "compare.md").read_text()
    assert "They were asked alike on the same machine." in page
    assert "| better | score, % |" in page
    assert run(before, after).exit_code == 0
    assert (after / "compare.md").exists()


@pytest.mark.parametrize("missing", [0, 1])
def test_runs_without_anything_in_common_and_folders_without_a_run(tmp_path, missing):
    one = write_run(tmp_path / "one", *make_run(skills=FEW[:1], problems=2))
    other = write_run(tmp_path / "other", *make_run(skills=FEW[1:2], problems=2))
    outcome = run(one, other)
    assert outcome.exit_code == 2
    assert "the first has plain on gym, the second same on gym" in outcome.output
    outcome = run(*[(one, other)[place] if place != missing else tmp_path for place in (0, 1)])
    assert outcome.exit_code == 2
    assert "run.json" in outcome.output
