"""``motet bench kernels`` for real, on small shapes."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from motet_benchmarks.cli import app
from motet_benchmarks.kernels.cases import JOBS, variants
from motet_benchmarks.kernels.contests import CONTENDERS, EAGER, MOTET


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("kernels")
    words = "kernels --device cpu --batch 2,1 --vocab 300 --rounds 3 --seconds 0".split()
    result = CliRunner().invoke(app, [*words, "--out", str(folder)])
    assert result.exit_code == 0, result.output
    return folder, result


def test_files_and_tables_are_there(ran):
    folder, result = ran
    assert sorted(path.name for path in folder.iterdir()) == [
        f"kernels-cpu.{suffix}" for suffix in ("csv", "json", "md", "png")
    ]
    for job in JOBS:
        assert f"{job}, called" in result.stdout
    page = (folder / "kernels-cpu.md").read_text()
    assert "On the CPU, " in page
    assert "GPU: not run." in page
    assert "FlashInfer in contrast_sample: needs a GPU" in page
    assert (folder / "kernels-cpu.png").read_bytes().startswith(b"\x89PNG")


def test_every_case_has_its_contenders_or_a_reason(ran):
    facts = json.loads((ran[0] / "kernels-cpu.json").read_text())
    assert facts["device"]["threads"] >= 1
    assert facts["copy_bytes_per_second"] > 1e8
    measured = {}
    for line in facts["lines"]:
        case = tuple(line["case"].values())
        assert {MOTET, EAGER} <= set(line["seconds"])
        assert set(line["ratios"]) == set(line["seconds"]) - {MOTET}
        assert line["bytes_per_second"] == pytest.approx(
            line["least_bytes"] / line["seconds"][MOTET]["value"]
        )
        measured[case] = set(line["seconds"])
    for job in JOBS:
        cases = [line["case"] for line in facts["lines"] if line["case"]["job"] == job]
        assert {(case["subject"], case["how"]) for case in cases} == set(variants(job))
    absent = {}
    for absence in facts["not_run"]:
        assert absence["reason"]
        absent.setdefault(tuple(absence["case"].values()), set()).add(absence["contender"])
    for case, contenders in measured.items():
        assert contenders | absent[case] == set(CONTENDERS)
        assert not contenders & absent[case]


def test_the_sheet_holds_every_contender_of_every_case(ran):
    facts = json.loads((ran[0] / "kernels-cpu.json").read_text())
    with (ran[0] / "kernels-cpu.csv").open(newline="") as sheet:
        rows = list(csv.DictReader(sheet))
    assert len(rows) == sum(len(line["seconds"]) for line in facts["lines"])
    assert {row["rounds"] for row in rows} == {"3"}
    for row in rows:
        assert 0 < float(row["seconds_low"]) <= float(row["seconds"]) <= float(row["seconds_high"])
    assert {row["contender"] for row in rows} >= {MOTET, EAGER}


def test_typical_cases_say_what_they_leave_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from motet_benchmarks.kernels import cases

    monkeypatch.setattr(cases, "BATCHES", (8, 9))
    monkeypatch.setattr(cases, "VOCABS", (50, 70))
    words = "kernels --device cpu --job contrast --rounds 1".split()
    result = CliRunner().invoke(app, [*words, "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    page = (tmp_path / "kernels-cpu.md").read_text()
    assert "cases were left out: `motet bench kernels --all` measures every one" in page


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--batch 0", "--batch 0: must be whole numbers from 1"),
        ("--vocab 5,many", "--vocab 5,many: must be whole numbers from 1"),
        ("--job draw", "--job: unknown draw; there are contrast, contrast_sample, token_logprobs"),
    ],
)
def test_mistakes_are_named_with_exit_code_2(words: str, message: str, tmp_path: Path):
    result = CliRunner().invoke(app, ["kernels", *words.split(), "--out", str(tmp_path)])
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_device_that_is_not_there_is_named(tmp_path: Path):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    result = CliRunner().invoke(app, ["kernels", "--device", "cuda", "--out", str(tmp_path)])
    assert result.exit_code == 2
    assert "--device cuda: torch sees no CUDA device here" in result.stderr


@pytest.mark.gpu
def test_on_a_gpu(tmp_path: Path):
    words = "kernels --device cuda --batch 1,8 --vocab 4096 --rounds 3 --seconds 0 --no-compile".split()
    result = CliRunner().invoke(app, [*words, "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    facts = json.loads(next(tmp_path.glob("*.json")).read_text())
    assert {line["mode"] for line in facts["lines"]} == {"launched", "in a CUDA graph"}
    failed = [absence["reason"] for absence in facts["not_run"] if absence["reason"].startswith("failed")]
    assert failed == []
