"""The README's table of the short default."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from motet_benchmarks.cli import app
from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.short import BEGIN, END, SWEEPS, parted, refresh, summary
from motet_benchmarks.strategies.plan import BUNDLED, wanted
from motet_benchmarks.strategies.testing_runs import make_run, write_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "run"
    run, samples = make_run(problems=12)
    write_run(path, run, samples)
    return path


def test_the_table_has_every_strategy_that_is_no_point_of_a_sweep(folder):
    grid = summary(folder)
    assert [row[0] for row in grid.rows] == ["plain", "same", "worse", "better"]
    assert grid.columns == (
        "strategy",
        "accuracy",
        "over plain, points",
        "verdict",
        "forwards",
        "seconds, p50",
    )
    assert {row[3] for row in grid.rows} <= {"–", "better", "worse", "no clear difference"}


def test_what_is_swept_are_points_of_strategies_that_there_are():
    models = ["motet-toy", "motet-sft"]
    found = wanted(BUNDLED, sweeps=SWEEPS, default=BUNDLED).of(models)
    assert [one.point.get("n") for one in found if one.best_of and one.sweep] == [1, 4, 16]
    assert sum(one.sweep is None for one in found) == len(BUNDLED)


def test_the_rest_of_the_file_stays_as_it_is(folder, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"# Tïtle\n\nbefore\n\n{BEGIN}\n| old |\n{END}\n\nbehind\r\n", newline="")
    for _ in range(2):
        assert refresh(readme, folder) == readme
        before, behind = parted(readme)
        assert before.endswith("before\n\n")
        assert behind.startswith("\n\nbehind")
        text = readme.read_text()
        assert "| old |" not in text
        assert text.count("| better |") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]


@pytest.mark.parametrize(
    "text", ["nothing", f"{BEGIN}\n", f"{END}\n{BEGIN}", f"{BEGIN}\n{END}\n{BEGIN}\n{END}", None]
)
def test_a_file_without_the_marks_is_refused_before_anything_is_measured(tmp_path, text):
    readme = tmp_path / "README.md"
    if text is not None:
        readme.write_text(text)
    with pytest.raises(BenchmarkError, match="--readme"):
        parted(readme)
    asked = CliRunner().invoke(app, ["all", "--readme", str(readme), "--out", str(tmp_path / "results")])
    assert asked.exit_code == 2
    assert not (tmp_path / "results").exists()
