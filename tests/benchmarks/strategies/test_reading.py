"""Runs read back, whole, torn and broken."""

from __future__ import annotations

import json

import pytest

from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.strategies.reading import read
from motet_benchmarks.strategies.records import FORMAT, RUN_FILE, SAMPLES_FILE
from motet_benchmarks.strategies.testing_runs import make_run, strategies, write_run


@pytest.fixture
def folder(tmp_path):
    return write_run(tmp_path / "run", *make_run(skills=strategies()[:2], problems=3))


def rewrite(folder, change):
    path = folder / SAMPLES_FILE
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(change(lines)))


def test_what_was_written_is_read(tmp_path):
    run, samples = make_run(problems=3, draws=2)
    recorded = read(write_run(tmp_path / "run", run, samples))
    assert (recorded.run, list(recorded.samples), recorded.torn) == (run, samples, False)
    assert recorded.expected() == len(samples)  # none by the refused strategy, one of each by greedy ones


def test_a_torn_last_line_is_left_out(folder):
    path = folder / SAMPLES_FILE
    content = path.read_bytes()
    # Within a character, as a killed run can leave it.
    path.write_bytes(content[:-40] + "é".encode()[:1])
    recorded = read(folder)
    assert recorded.torn
    assert len(recorded.samples) == 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: [lines[0], "{\n", *lines[2:]], "line 2: Invalid JSON"),
        (lambda lines: [lines[0].replace('"score":', '"mark":'), *lines[1:]], "line 1: "),
        (lambda lines: [lines[0], lines[0]], "line 2: the same answer as in line 1"),
        (
            lambda lines: [lines[0].replace('"strategy":"plain"', '"strategy":"other"')],
            "line 1: run.json .* 'other'",
        ),
        (lambda lines: [lines[0].replace('"seconds":', '"seconds":1e999,"x":')], "line 1"),
        (lambda lines: [], "no answers yet"),
    ],
)
def test_a_line_that_is_no_sample_is_named(folder, change, message):
    rewrite(folder, change)
    with pytest.raises(BenchmarkError, match=f"{SAMPLES_FILE}.*{message}"):
        read(folder)


def test_a_figure_that_is_not_finite_is_refused(folder):
    line = json.loads((folder / SAMPLES_FILE).read_text().splitlines()[0])
    (folder / SAMPLES_FILE).write_text(json.dumps({**line, "reward": float("nan")}) + "\n")
    with pytest.raises(BenchmarkError, match="line 1: a figure that isn't finite"):
        read(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("nothing", "no JSON"),
        ("[]", "an object was expected"),
        (json.dumps({"format": FORMAT + 1}), "written by a newer motet"),
        (json.dumps({"format": FORMAT, "model": 3}), "command: Field required"),
        (b"\xff\xfe", "no UTF-8"),
    ],
)
def test_a_run_file_that_is_none_is_named(folder, content, message):
    (folder / RUN_FILE).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(BenchmarkError, match=f"{RUN_FILE}: {message}"):
        read(folder)


def test_a_folder_without_a_run_says_what_one_holds(tmp_path):
    with pytest.raises(
        BenchmarkError, match=r"run\.json: can't be read: No such file.*holds run\.json and samples"
    ):
        read(tmp_path)


def test_a_run_of_refused_strategies_says_why(folder):
    run = json.loads((folder / RUN_FILE).read_text())
    (folder / RUN_FILE).write_text(
        json.dumps({**run, "refused": {"plain": "no model", "same": "no such field"}})
    )
    (folder / SAMPLES_FILE).write_text("")
    with pytest.raises(BenchmarkError, match=r"refused every strategy .plain: no model; same: no such field"):
        read(folder)
