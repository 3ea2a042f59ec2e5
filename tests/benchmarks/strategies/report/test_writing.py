"""The report's files: whole, escaped, of one file, and of whatever is there."""

from __future__ import annotations

import json
import re

import pytest
from typer import Typer
from typer.testing import CliRunner

from motet_benchmarks.results import Grid
from motet_benchmarks.strategies.records import Strategy
from motet_benchmarks.strategies.report import cli
from motet_benchmarks.strategies.report.writing import write
from motet_benchmarks.strategies.testing_runs import make_run, strategies, write_run

FEW = strategies()[:4]


def run(*words: object):
    app = Typer()
    app.command()(cli.report)
    app.command()(cli.compare)
    return CliRunner().invoke(app, [str(word) for word in words])


def test_the_page_is_one_file_and_escapes_what_others_wrote(written):
    page = (written / "report.html").read_text()
    assert "<script>document" not in page
    assert "<img" not in page
    assert page.count("<script") == 1
    assert "&lt;script&gt;document.title" in page
    # Nothing of another file: no source, no link but to the page's own places, no address in a style.
    assert re.findall(r"""\b(?:src|href)=["'](?!#)""", page.replace("src=x", "")) == []
    assert not re.search(r"url\((?!#)|@import", page)


def test_the_json_holds_what_the_page_says(written):
    facts = json.loads((written / "report.json").read_text())
    assert facts["answers"] == facts["expected"] == 13 * 45
    assert facts["first"] == "plain"
    lines = {line["strategy"]: line for line in facts["lines"]}
    assert (lines["worse"]["verdict"], lines["better"]["verdict"]) == ("worse", "better")
    assert "better" in facts["fronts"]["gym"]["forwards"]
    assert f"{100 * lines['better']['score']['value']:.1f} [" in (written / "report.html").read_text()


def test_the_summary_names_best_worst_and_refused(written):
    page = (written / "report.md").read_text()
    assert "Refused by the endpoint: refused: no such voice: nobody" in page
    assert "- Highest accuracy: better with" in page
    assert re.search(r"- Worse than plain: .*worse", page)
    assert page.count("\n### ") == 6


def test_a_run_with_holes_has_a_page_that_says_so(tmp_path):
    run_, samples = make_run(
        skills=FEW, problems=4, draws=2, tasks=("gym", "other"), judge=None, streamed=False
    )
    kept = [each for each in samples if each.task == "gym" or each.strategy == "same"][:-1]
    kept = [
        each.model_copy(update={"text": "", "score": None}) if each.task == "other" else each for each in kept
    ]
    write(write_run(tmp_path, run_, kept))
    page = (tmp_path / "report.md").read_text()
    assert f"The run isn't complete: {len(kept)} of {len(samples)} answers" in page
    assert "other has no grader" in page


def test_a_plot_says_who_has_answered_only_some_problems(tmp_path):
    run_, samples = make_run(skills=FEW, problems=4)
    write(write_run(tmp_path, run_, samples[:-1]))
    page = (tmp_path / "report.html").read_text()
    assert "The dotted line is plain. Unfinished: better (3 of 4 problems)." in page


def test_one_problem_and_one_strategy_are_enough(tmp_path):
    write(write_run(tmp_path, *make_run(skills=FEW[:1], problems=1)))
    assert "Highest accuracy: plain" in (tmp_path / "report.md").read_text()


def test_names_that_plots_could_stumble_over(tmp_path):
    names = ["$x^{", "tab\tand \x07 bell", "中文模型 🎻", "a|b", "_hidden"]
    skills = [
        (Strategy(name=name, sweep="$s$", point={"n": place + 1}), 0.1) for place, name in enumerate(names)
    ]
    write(write_run(tmp_path, *make_run(skills=skills, problems=6)))
    page = (tmp_path / "report.html").read_text()
    assert all(name in page for name in ("$x^{", "中文模型 🎻", "_hidden"))


@pytest.mark.parametrize(
    "name",
    [
        "a|b",
        "a\\|b",
        "x\n\n# Injected",
        "<!-- bench: end -->",
        "<!-- and what follows",
        "[x](http://x)",
        "x\n| y",
        "# Injected",
        "> said",
    ],
)
def test_no_name_breaks_the_summary(tmp_path, name):
    skills = [(Strategy(name="first"), 0.0), (Strategy(name=name), 0.1)]
    run_, samples = make_run(skills=skills, problems=6, tasks=("gym", f"task {name}"))
    run_ = run_.model_copy(update={"refused": {"first": f"refused by {name}"}})
    write(write_run(tmp_path, run_, [each for each in samples if each.strategy == name]))
    page = (tmp_path / "report.md").read_text()
    plain = make_run(
        skills=[(Strategy(name="first"), 0.0), (Strategy(name="x"), 0.1)], problems=6, tasks=("gym", "y")
    )
    run_ = plain[0].model_copy(update={"refused": {"first": "refused"}})
    write(write_run(tmp_path, run_, [each for each in plain[1] if each.strategy == "x"]))
    other = (tmp_path / "report.md").read_text()
    assert [len(re.findall(r"\n[-\s]*[#>]", each)) for each in (page, other)] == [other.count("\n#")] * 2
    assert page.count("\n") == other.count("\n")
    assert "<!--" not in page
    assert "](" not in page.replace("\\](", "").replace("]\\(", "")
    cells = [re.split(r"(?<!\\)(?:\\\\)*\|", line) for line in page.splitlines() if line.startswith("|")]
    others = [line.split("|") for line in other.splitlines() if line.startswith("|")]
    assert [len(each) for each in cells] == [len(each) for each in others]


def test_a_summary_that_is_put_into_another_file_cannot_end_its_part():
    grid = Grid("title", ("a", "<!-- bench: end -->"), (("x\ny", "< 0.001"), ("<b>", ">= 2")))
    assert grid.markdown().splitlines() == [
        "| a | &lt;!-- bench: end --> |",
        "| --- | ---: |",
        "| x y | < 0.001 |",
        "| &lt;b> | >= 2 |",
    ]


def test_messages_before_the_last_one_are_shown_with_the_worst_examples(tmp_path):
    run_, samples = make_run(skills=FEW, problems=6)
    context = (
        {"role": "system", "content": f"End with {'thanks ' * 300}<b>"},
        {"role": "user", "content": "Hi"},
    )
    write(write_run(tmp_path, run_, [each.model_copy(update={"context": context}) for each in samples]))
    page = (tmp_path / "report.html").read_text()
    said = page[page.index("Before it: system") : page.index('<p class="label">Prompt')]
    assert "End with thanks thanks" in said
    assert "more characters)" in said
    assert "<b>" not in said
    assert "Before it: user</p>\n<pre>Hi</pre>" in said


def test_the_page_and_its_figures_are_no_larger_than_they_must_be(written):
    assert "\n " not in (written / "report.json").read_text()
    page = (written / "report.html").read_text()
    plots = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(plots) >= 9
    assert all("\n" not in plot for plot in plots)
    assert sum(map(len, plots)) / len(plots) < 13_000
    assert not any(re.search(r"\.\d\d", each) for plot in plots for each in re.findall(r' d="([^"]*)"', plot))


def test_a_sweep_of_three_settings_is_left_to_the_table(tmp_path):
    points = [{"strength": a, "plausibility": b, "n": c} for a in (1, 2) for b in (0, 1) for c in (1, 2)]
    skills = [
        (Strategy(name=f"s{place}", sweep="all", point=point), 0.0) for place, point in enumerate(points)
    ]
    write(write_run(tmp_path, *make_run(skills=skills, problems=6)))
    page = (tmp_path / "report.html").read_text()
    assert "Accuracy by strategy" in page
    assert "Accuracy against N" not in page


def test_of_many_families_those_are_drawn_in_which_strategies_differ(tmp_path):
    run_, samples = make_run(skills=FEW[:2], problems=40)
    # Each problem a family of its own, all answered wrong but for the last by one of the two.
    samples = [
        each.model_copy(
            update={
                "family": each.problem,
                "score": float(each.problem == "gym-39" and each.strategy == "same"),
            }
        )
        for each in samples
    ]
    write(write_run(tmp_path, run_, samples))
    page = (tmp_path / "report.html").read_text()
    assert "The 12 of 40 families in which they differ most." in page
    label = re.search(r'aria-label="(accuracy on gym by family[^"]*)"', page)
    assert label is not None
    assert "gym-39 0 to 100 %" in label[1]
    assert label[1].count("gym-") == 12
    # More families than strategies: a row for each.
    assert "| family | plain | same |" in (tmp_path / "report.md").read_text()


def test_the_command_writes_the_report_again(tmp_path):
    folder = write_run(tmp_path / "run", *make_run(skills=FEW[:2], problems=3))
    outcome = run("report", folder)
    assert outcome.exit_code == 0, outcome.output
    assert (folder / "report.html").exists()
    outcome = run("report", tmp_path)
    assert outcome.exit_code == 2
    assert "run.json: can't be read" in outcome.output


@pytest.mark.parametrize("taken", ["report.json", ".report.html.new"])
def test_a_folder_that_cannot_be_written_to_is_named(tmp_path, taken):
    folder = write_run(tmp_path / "run", *make_run(skills=FEW[:1], problems=2))
    (folder / taken / "in the way").mkdir(parents=True)
    outcome = run("report", folder)
    assert outcome.exit_code == 2
    assert "can't write there: Is a directory" in outcome.output
