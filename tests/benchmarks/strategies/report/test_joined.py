"""What other benchmarks add to the page."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.load.records import Client, Figures, Load, Member, Quantiles, Server, Step, Targets
from motet_benchmarks.statistics import Interval
from motet_benchmarks.strategies.judging import Judgement, digest, messages
from motet_benchmarks.strategies.records import Strategy
from motet_benchmarks.strategies.report.kernels import section
from motet_benchmarks.strategies.report.writing import write
from motet_benchmarks.strategies.testing_runs import make_run, strategies, write_run
from motet_benchmarks.strategies.winning import pairs

RESULTS = Path(__file__).parents[4] / "benchmarks/results"


@pytest.fixture
def made():
    return make_run(skills=strategies()[:2], problems=6)


@pytest.fixture
def folder(tmp_path, made):
    return write_run(tmp_path / "run", *made)


def pages(folder) -> tuple[str, str]:
    write(folder)
    return (folder / "report.md").read_text(), (folder / "report.html").read_text()


def load() -> Load:
    """Two servers at two rates, the second one slower."""
    steps = (Step(rate=1), Step(rate=4))
    servers = (Server(name="motet", model="toy"), Server(name="vLLM", url="http://x/v1", model="toy"))

    def figures(step: int, server: int) -> Figures:
        seconds = 0.1 * (step + 1) * (server + 1)
        each = Interval(seconds, 0.9 * seconds, 1.2 * seconds)
        return Figures(
            step=step,
            server=servers[server].name,
            requests=50,
            answered=49,
            failures={"timeout": 1},
            offered=5,
            completed=4.9,
            tokens=100,
            goodput=Interval(4.0 - server, 3.5 - server, 4.2 - server),
            good=40,
            latency={"first token": Quantiles(count=49, p50=each, p90=each, p99=each)},
        )

    return Load(
        command="motet bench serving --rate 1,4",
        circumstances={"cpu": "made up"},
        servers=servers,
        mix=(Member(strategy=Strategy(name="plain"), share=1),),
        steps=steps,
        seconds=10,
        segments=1,
        warm_up=1,
        tokens=8,
        stream=True,
        timeout=60,
        max_open=64,
        targets=Targets(first_token=0.2),
        prompts="the gym",
        figures=tuple(figures(step, server) for step in (0, 1) for server in (0, 1)),
        client=tuple(
            Client(step=step, server=server.name, late_p99=0.001, late_most=0.002, held=0, most_open=5)
            for step in (0, 1)
            for server in servers
        ),
    )


def test_a_load_has_its_latency_and_goodput_drawn(folder):
    (folder / "load.json").write_text(load().model_dump_json())
    text, page = pages(folder)
    assert "- Measured by motet bench serving --rate 1,4 on cpu: made up." in text
    assert "Load: first token, p99" in page
    assert "motet: 100.0 at 1, 200.0 at 4; vLLM: 200.0 at 1, 400.0 at 4" in page  # milliseconds
    assert "Load: goodput" in page
    assert "motet: 4.0 at 1" in page
    assert "Load: per token" not in page


def test_kernels_beside_the_runs_folder_are_taken_where_it_has_none(folder, monkeypatch):
    shutil.copy(RESULTS / "kernels-cpu.json", folder.parent)
    monkeypatch.chdir(folder)
    write(Path("."))  # which has no parent of its own
    text, page = (folder / "report.md").read_text(), (folder / "report.html").read_text()
    assert "## Kernels on CPU" in text
    assert "contrast_sample, eager" in page  # a row of the plot
    assert "mathdefault" not in page  # how matplotlib writes powers of ten for TeX
    (folder / "kernels-cpu.json").write_text("{}")
    text, _ = pages(folder)
    assert "## Kernels on CPU" not in text
    assert "Left out" in text


def test_what_lies_in_the_working_directory_is_no_part_of_a_report(folder, tmp_path, monkeypatch):
    results = tmp_path / "elsewhere/benchmarks/results"
    results.mkdir(parents=True)
    shutil.copy(RESULTS / "kernels-cpu.json", results)
    (results / "load.json").write_text(load().model_dump_json())
    monkeypatch.chdir(tmp_path / "elsewhere")
    text, _ = pages(folder)
    assert "Kernels" not in text
    assert "Serving" not in text


def test_what_was_measured_elsewhere_says_so(folder, made):
    run, samples = made
    here = {"cpu": "a", "cores": 2, "gpus": [], "load": 0.1, "versions": {"motet": "1", "vllm": "2"}}
    there = {"cpu": "a", "cores": 8, "gpus": ["H200"], "load": 9.0, "versions": {"motet": "1", "torch": "3"}}
    write_run(folder, run.model_copy(update={"circumstances": here, "model": "toy"}), samples)
    said = (
        "Not measured as the strategies above: cores 8, not 2; gpus H200, not none; torch 3, not none; "
        "vllm none, not 2."
    )
    for circumstances, cautioned in ((here, False), (there, True)):
        measured = load().model_copy(update={"circumstances": circumstances})
        (folder / "load.json").write_text(measured.model_dump_json())
        text, page = pages(folder)
        assert (f"\n- {said}\n" in text) is cautioned
        assert (f'<p class="caution" role="note">{said}</p>' in page) is cautioned
        assert "another model" not in text
    write_run(folder, run, samples)
    assert "- Of another model than the strategies above: toy.\n" in pages(folder)[0]


def test_a_judges_win_rates_are_told(folder, made):
    judgements = [
        Judgement(
            judge="a judge",
            digest=digest(messages(pair, swapped=swapped)),
            task="gym",
            strategy="same",
            against="plain",
            problem=pair.answer.problem,
            draw=0,
            against_draw=0,
            swapped=swapped,
            verdict="B" if swapped else "A",
            said="A",
        )
        for pair in pairs(*made)
        for swapped in (False, True)
    ]
    lines = "".join(f"{each.model_dump_json()}\n" for each in judgements)
    (folder / "judgements.jsonl").write_text(lines)
    text, _ = pages(folder)
    assert re.search(r"\n\| same \| 6 \| 100\.0 \[", text)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("load.json", "{}", "no record of a load"),
        ("kernels-cpu.json", '{"lines": 3}', "no kernel results: circumstances: Field required"),
        ("judgements.jsonl", "nothing\n", "line 1"),
    ],
)
def test_what_cannot_be_read_costs_its_own_section_and_not_the_page(folder, name, content, said):
    (folder / name).write_text(content)
    text, _ = pages(folder)
    assert re.search(f"- Left out: .*{name}.*{said}", text)
    assert "Highest accuracy" in text


def test_kernel_results_say_how_many_times_as_long_others_take(tmp_path):
    spread = {"value": 0.001, "low": 0.0009, "high": 0.0012}
    case = {
        "job": "contrast",
        "subject": "all",
        "how": "",
        "mood": "flat",
        "dtype": "float32",
        "batch": 8,
        "vocab": 32000,
    }
    line = {
        "case": case,
        "mode": "called",
        "seconds": {"motet": spread},
        "ratios": {"eager": {**spread, "value": 1.5}},
    }
    facts = {"circumstances": {"cpu": "made up"}, "device": {"name": "CPU"}, "lines": [line]}
    (tmp_path / "kernels-cpu.json").write_text(json.dumps(facts))
    found = section(tmp_path / "kernels-cpu.json")
    assert found.grids[0].rows[0][0] == "contrast all flat, 8 x 32,000"
    assert found.grids[0].rows[0][3].startswith("1 [0.9")
    assert "contrast, eager 1.50 of 1" in found.plots[0].label
    assert 'aria-describedby="kernels-table0"' in found.plots[0].svg
    (tmp_path / "kernels-cpu.json").write_text(json.dumps({**facts, "lines": []}))
    assert section(tmp_path / "kernels-cpu.json").plots == ()
    with pytest.raises(BenchmarkError, match="can't be read"):
        section(tmp_path)
