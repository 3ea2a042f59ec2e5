"""``motet bench adapters``: a real server for a few swaps, and what it refuses before."""

from __future__ import annotations

import csv
import json
import os
from itertools import pairwise
from pathlib import Path

import pytest
from typer.testing import CliRunner

from motet_benchmarks.adapters.plan import Plan
from motet_benchmarks.adapters.run import PRIMITIVES, _few_primitives, _words
from motet_benchmarks.cli import app


@pytest.mark.parametrize(
    ("swaps", "seconds", "rate", "rounds"),
    [
        (200, 10.0, 2.0, (20,) * 10),
        (7, 1.0, 2.0, (1, 2, 2, 2)),
        (1, 10.0, 2.0, (1,)),
        (3, 0.1, 1.0, (1, 1, 1)),
    ],
)
def test_swaps_are_spread_over_rounds(swaps: int, seconds: float, rate: float, rounds: tuple[int, ...]):
    assert Plan(swaps=swaps, seconds=seconds, rate=rate).by_round == rounds


def test_a_store_without_its_server_is_refused(tmp_path: Path):
    result = CliRunner().invoke(app, ["adapters", "--store", str(tmp_path), "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "--store: only with --url" in result.output
    assert not (tmp_path / "out").exists()


def test_a_base_that_is_not_there_is_told(tmp_path: Path):
    result = CliRunner().invoke(
        app, ["adapters", "--model", str(tmp_path / "none"), "--no-products", "--out", str(tmp_path)]
    )
    assert result.exit_code == 2
    assert "motet bench: error: --model: there is no model folder" in result.output


@pytest.mark.parametrize(
    ("options", "blocks"),
    [([], ["256"]), (["--num-gpu-blocks-override", "9"], ["9"]), (["--kv-cache-memory-bytes=1G"], [])],
)
def test_the_cache_of_a_server_started_on_a_cpu_is_soon_filled(options: list[str], blocks: list[str]):
    if Path("/proc/driver/nvidia/version").exists():
        pytest.skip("a GPU's cache is not in the memory that is watched")
    words = _words(Plan(), "model", Path("store"), options)
    found = [value for name, value in pairwise(words) if name == "--num-gpu-blocks-override"]
    assert found == blocks
    assert words[:5] == ["model", "--adapters", "store", "--max-adapters", "8"]
    assert words[words.index("--dtype") + 1] == "float32"


@pytest.mark.parametrize(("before", "inside"), [(None, "64"), ("7", "7")])
def test_a_server_keeps_few_primitives(before: str | None, inside: str, monkeypatch: pytest.MonkeyPatch):
    if before is None:
        monkeypatch.delenv(PRIMITIVES, raising=False)
    else:
        monkeypatch.setenv(PRIMITIVES, before)
    with _few_primitives():
        assert os.environ[PRIMITIVES] == inside
    assert os.environ.get(PRIMITIVES) == before


@pytest.mark.engine
def test_a_few_swaps_on_a_real_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
    words = "adapters --swaps 4 --clients 4 --seconds 1 --tokens 16 --no-products".split()
    result = CliRunner().invoke(app, [*words, "--out", str(tmp_path)])
    facts = json.loads((tmp_path / "adapters.json").read_text())
    assert facts["outcome"]["faults"] == [], result.output
    assert result.exit_code == 0, result.output
    assert facts["passed"] is True
    assert [wait["number"] for wait in facts["outcome"]["waits"]] == [1, 2, 3, 4]
    assert facts["outcome"]["told_apart"] > 0.9
    assert all(reading["memory"] > 100 * 2**20 for reading in facts["readings"])
    assert "swaps heard" in result.output
    with (tmp_path / "adapters.csv").open(newline="") as sheet:
        rows = list(csv.DictReader(sheet))
    versions = {row["version"] for row in rows if row["asked"] == "current"}
    assert versions <= {swap["reference"] for swap in facts["swaps"]}
    assert {row["version"] for row in rows if row["asked"] == "base"} == {""}
    assert all(row["version"] == row["model"] for row in rows if row["asked"] == "pinned")
