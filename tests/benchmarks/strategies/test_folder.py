"""A run's folder: torn lines, strange lines, and two runs at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.strategies.folder import RunFolder
from motet_benchmarks.strategies.reading import read_run
from motet_benchmarks.strategies.records import Run, Sample, Strategy, TaskRecord

RUN = Run(
    command="motet bench strategies",
    circumstances={},
    model="fake",
    strategies=(Strategy(name="plain"), Strategy(name="mine")),
    tasks=(TaskRecord(name="gym", metric="accuracy", problems=1, digest="0"),),
)


def sample(problem: str, text: str = "words") -> Sample:
    return Sample(
        strategy="plain",
        task="gym",
        problem=problem,
        family="sums",
        text=text,
        score=None,
        prompt_tokens=1,
        answer_tokens=1,
        generated=1,
        forwards=2,
        seconds=0.5,
    )


def test_samples_are_kept_as_they_come_and_read_again(tmp_path: Path):
    strange = sample("1", "a\u2028b\n\r\x85")
    with RunFolder(tmp_path, RUN) as folder:
        folder.add(strange)
        # A whole line lies there before anything else happens.
        assert (tmp_path / "samples.jsonl").read_bytes().endswith(b"\n")
        folder.add(sample("2"))
    with RunFolder(tmp_path, RUN) as folder:
        assert list(folder.samples.values()) == [strange, sample("2")]


def test_what_a_kill_leaves_of_a_line_is_dropped(tmp_path: Path):
    with RunFolder(tmp_path, RUN) as folder:
        folder.add(sample("1"))
        folder.add(sample("2"))
    file = tmp_path / "samples.jsonl"
    whole = file.read_bytes()
    for cut in (1, 20, len(whole) // 2 - 1):
        file.write_bytes(whole[:-cut])
        with RunFolder(tmp_path, RUN) as folder:
            assert list(folder.samples.values()) == [sample("1")]
            folder.add(sample("2"))
        assert file.read_bytes() == whole


def test_samples_that_are_replaced_keep_their_places(tmp_path: Path):
    with RunFolder(tmp_path, RUN) as folder:
        for problem in "123":
            folder.add(sample(problem))
        folder.replace([sample("2", "others")])
        folder.add(sample("4"))
    with RunFolder(tmp_path, RUN) as folder:
        assert [one.text for one in folder.samples.values()] == ["words", "others", "words", "words"]
    assert {path.name for path in tmp_path.iterdir()} == {"run.json", "samples.jsonl"}


def test_a_line_that_is_no_sample_is_named(tmp_path: Path):
    with RunFolder(tmp_path, RUN) as folder:
        folder.add(sample("1"))
    file = tmp_path / "samples.jsonl"
    file.write_bytes(file.read_bytes() + b'{"strategy": "plain"}\n')
    with (
        pytest.raises(BenchmarkError, match=r"samples.jsonl, line 2: task: Field required"),
        RunFolder(tmp_path, RUN),
    ):
        pass


def test_a_folder_that_is_written_to_is_left_alone(tmp_path: Path):
    with (
        RunFolder(tmp_path, RUN) as folder,
        pytest.raises(BenchmarkError, match="another run is writing there"),
        RunFolder(tmp_path, RUN),
    ):
        pass
    with RunFolder(tmp_path, RUN):
        folder = RunFolder(tmp_path, RUN)
        assert folder.samples == {}


def test_samples_without_their_run_are_not_taken_over(tmp_path: Path):
    (tmp_path / "samples.jsonl").write_text("{}\n")
    with pytest.raises(BenchmarkError, match=r"has samples and no run.json"), RunFolder(tmp_path, RUN):
        pass
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(BenchmarkError, match=r"run.json: .*command"):
        read_run(tmp_path / "run.json")


def test_another_order_is_another_run(tmp_path: Path):
    with RunFolder(tmp_path, RUN):
        pass
    other = RUN.model_copy(update={"strategies": RUN.strategies[::-1]})
    with pytest.raises(BenchmarkError, match="the order of strategies or tasks"), RunFolder(tmp_path, other):
        pass


def test_a_disk_that_is_full_costs_the_last_sample_alone(tmp_path: Path):
    (tmp_path / "run").mkdir()
    with RunFolder(tmp_path / "run", RUN) as folder:
        folder.add(sample("1"))
    size = (tmp_path / "run" / "samples.jsonl").stat().st_size
    # In a process of its own, which may write no files longer than that.
    code = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from motet_benchmarks.errors import BenchmarkError\n"
        "from motet_benchmarks.strategies.folder import RunFolder\n"
        "from motet_benchmarks.strategies.reading import read\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "path = Path(sys.argv[1])\n"
        "found = read(path)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({size + 20}, {size + 20}))\n"
        "other = found.samples[0].model_copy(update={'problem': '2'})\n"
        "for _ in range(2):\n"
        "    try:\n"
        "        with RunFolder(path, found.run) as folder:\n"
        "            folder.add(other)\n"
        "    except BenchmarkError as error:\n"
        "        print(error)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "run"], capture_output=True, text=True, check=True
    )
    assert ran.stdout.splitlines() == [f"{tmp_path / 'run'}: can't write there: File too large"] * 2
    with RunFolder(tmp_path / "run", RUN) as folder:
        assert list(folder.samples.values()) == [sample("1")]


def test_a_place_that_cannot_be_written_to_is_told(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BenchmarkError, match="can't write there"), RunFolder(tmp_path / "file" / "run", RUN):
        pass
