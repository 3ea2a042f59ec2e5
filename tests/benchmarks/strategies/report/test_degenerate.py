"""Runs in which something has no spread, no size or isn't there: each has a page, and no plot with two names alike."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape
from xml.etree import ElementTree

import pytest

from motet_benchmarks.strategies.records import Run, Sample, Strategy
from motet_benchmarks.strategies.report.writing import write
from motet_benchmarks.strategies.testing_runs import make_run, strategies, write_run

FEW = strategies()[:4]

#: How a run and its answers are changed.
Change = Callable[[Run, Sample], Sample]


def same(**fields: object) -> Change:
    return lambda run, sample: sample.model_copy(update=fields)


def refuse(keep: int) -> Change:
    """All problems but so many of every strategy."""

    def change(run: Run, sample: Sample) -> Sample:
        if int(sample.problem.rpartition("-")[2]) < keep:
            return sample
        nothing = {"text": "", "refusal": "too long", "score": 0.0, "reward": None, "answer_tokens": 0}
        return sample.model_copy(update={**nothing, "generated": 0, "forwards": 0, "seconds": 0.0})

    return change


def fractional(run: Run, sample: Sample) -> Sample:
    """Counts whose mean over three draws is a fraction, the same for each problem."""
    count = 1 + (sample.draw == 2)
    return sample.model_copy(update=dict.fromkeys(("prompt_tokens", "generated", "forwards"), count))


def hidden(run: Run, sample: Sample) -> Sample:
    """Times of tokens of the last strategy alone, which plots have no place for."""
    return sample if sample.strategy == run.strategies[-1].name else same(first_token=None)(run, sample)


def swept(*points: dict[str, float], sweep: str = "sweep") -> list[tuple[Strategy, float]]:
    return [
        FEW[0],
        *((Strategy(name=f"s{place}", sweep=sweep, point=point), 0.1) for place, point in enumerate(points)),
    ]


RUNS = {
    "one problem of one strategy": ({"skills": FEW[:1], "problems": 1}, None),
    "all right": ({}, same(score=1.0)),
    "all wrong": ({}, same(score=0.0, declined=True, finish="length")),
    "all half right": ({}, same(score=0.5)),
    "costs of thirds": ({"draws": 3, "problems": 30}, fractional),
    "no rewards": ({"judge": None}, None),
    "rewards without a grader": ({"graded": False}, None),
    "rewards all alike": ({"graded": False}, same(reward=-2.5)),
    "neither grader nor rewards": ({"graded": False, "judge": None}, None),
    "not streamed": ({"streamed": False}, None),
    "all strategies refused but one": ({"skills": [(Strategy(name="refused"), 0.0), FEW[1]]}, None),
    "all problems refused but one": ({}, refuse(1)),
    "nothing of any size": (
        {},
        same(
            text="", prompt_tokens=0, answer_tokens=0, generated=0, forwards=0, seconds=0.0, first_token=0.0,
            per_token=None,
        ),
    ),
    "very large and very small": (
        {},
        same(generated=10**13, forwards=10**15, seconds=1e-9, reward=1e12, first_token=1e9, per_token=1e-12),
    ),
    "a time that no strategy of a plot has": (
        {"skills": [(Strategy(name=f"s{place}"), 0.1 * (place < 8)) for place in range(9)]},
        hidden,
    ),
    "draws all alike": ({"draws": 3}, same(text="the same", score=1.0, reward=1.0)),
    "a sweep of one point": ({"skills": swept({"n": 4})}, None),
    "a sweep that stands still": ({"skills": swept({"n": 4}, {"n": 4})}, None),
    "a sweep of no settings": ({"skills": swept({}, {})}, None),
    "a sweep named as the first strategy": ({"skills": swept({"n": 1}, {"n": 2}, sweep="plain")}, None),
    "a map with two of one place": (
        {"skills": swept({"a": 1, "b": 1}, {"a": 1, "b": 1}, {"a": 2, "b": 0}, {"a": -1, "b": 2})},
        None,
    ),
    "points that are hardly apart": (
        {"skills": swept({"s": 0.1}, {"s": 0.1000001}, {"s": -0.0}, {"s": 1e9})},
        None,
    ),
}  # fmt: skip


@pytest.fixture(params=list(RUNS))
def page(request, tmp_path) -> str:
    options, change = RUNS[request.param]
    run, samples = make_run(**{"skills": FEW, "problems": 4, **options})
    if change is not None:
        samples = [change(run, sample) for sample in samples]
    write(write_run(tmp_path, run, samples))
    return (tmp_path / "report.html").read_text()


def plots(page: str) -> list[ElementTree.Element]:
    return [ElementTree.fromstring(each) for each in re.findall(r"<svg.*?</svg>", page, re.DOTALL)]


def texts(plot: ElementTree.Element) -> list[str]:
    return ["".join(each.itertext()) for each in plot.iter() if each.tag.endswith("}text")]


def test_every_run_has_a_page_whose_plots_are_sound(page):
    drawn = plots(page)
    assert drawn
    for plot in drawn:
        names = [text for text in texts(plot) if not re.fullmatch(r"[\d.,e+−-]+", text)]
        assert len(set(names)) == len(names)
        ids = {each.get("id") for each in plot.iter()} - {None}
        asked = {each.get("href") for each in plot.iter() if each.tag.endswith("}use")}
        assert {f"#{name}" for name in ids} == asked  # each shape is there once, and each is used
        assert not re.search(r"\b(?:nan|inf)\b", ElementTree.tostring(plot, encoding="unicode"))
    assert not re.search(r"\b(?:nan|inf)\b", re.sub(r"<svg.*?</svg>", "", page, flags=re.DOTALL))


def test_rewards_are_plotted_where_there_is_no_grader(tmp_path):
    run, samples = make_run(skills=strategies(), problems=12, graded=False)
    write(write_run(tmp_path, run, samples))
    page = unescape((tmp_path / "report.html").read_text())
    for title in ("by strategy", "against forwards", "against generated", "against N"):
        assert f"Reward by motet-reward {title}" in page
    assert "contrast: reward by motet-reward over strength x plausibility" in page
    label = re.search(r'aria-label="(reward by motet-reward on gym by strategy[^"]*)"', page)
    assert label is not None
    assert re.search(r"plain -?\d\.\d\d \[-?\d\.\d\d, -?\d\.\d\d\];", label[1])
    assert "On the front: " in page


def test_names_of_a_sweep_over_two_settings_are_told_apart_in_every_plot(tmp_path):
    points = [{"strength": a, "plausibility": b} for a in (0.25, 0.5, 1) for b in (0, 0.1)]
    skills = [
        FEW[0],
        *(
            (
                Strategy(
                    name=f"contrast strength={point['strength']:g} plausibility={point['plausibility']:g}",
                    sweep="contrast",
                    point=point,
                ),
                0.1 * place,
            )
            for place, point in enumerate(points)
        ),
    ]
    write(write_run(tmp_path, *make_run(skills=skills, problems=12)))
    drawn = plots((tmp_path / "report.html").read_text())
    assert sum("contrast 0.25, 0" in texts(plot) for plot in drawn) >= 3
    for plot in drawn:
        names = [text for text in texts(plot) if text.startswith("contrast")]
        assert len(set(names)) == len(names)


def test_a_slow_strategy_leaves_fast_ones_to_be_told_apart(tmp_path):
    def drawn(slower: float) -> list[str]:
        run, samples = make_run(skills=FEW[:2], problems=12)
        samples = [
            each.model_copy(update={"seconds": each.seconds * slower}) if each.strategy == "same" else each
            for each in samples
        ]
        write(write_run(tmp_path, run, samples))
        page = (tmp_path / "report.html").read_text()
        return texts(next(plot for plot in plots(page) if "whole answer" in (plot.get("aria-label") or "")))

    assert "0" in drawn(1)
    assert "0" not in drawn(20)  # of a logarithmic axis


def test_curves_are_told_apart_by_more_than_colour(tmp_path):
    write(write_run(tmp_path, *make_run(problems=12)))
    page = (tmp_path / "report.html").read_text()
    latency = next(plot for plot in plots(page) if "Latency" in (plot.get("aria-label") or ""))
    dashes = re.findall(r"stroke-dasharray:([^;]*)", ElementTree.tostring(latency, encoding="unicode"))
    assert len(set(dashes)) >= 4
