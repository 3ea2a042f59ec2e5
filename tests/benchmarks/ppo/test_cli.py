"""``motet bench ppo``: what is asked of it, and a real engine for a few answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from motet_benchmarks.cli import app


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--batches", "32,none"], "--batches 32,none: must be whole numbers"),
        (["--out", "/proc/nothing"], "--out /proc/nothing: can't write there"),
    ],
)
def test_what_cannot_be_measured_is_told_at_once(options: list[str], complaint: str):
    result = CliRunner().invoke(app, ["ppo", *options])
    assert result.exit_code == 2
    assert complaint in result.output


@pytest.mark.engine
def test_a_few_answers_of_a_real_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
    words = "ppo --batches 4,8 --rounds 1 --loop-rounds 0 --max-answer 16".split()
    result = CliRunner().invoke(app, [*words, "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    facts = json.loads((tmp_path / "ppo.json").read_text())
    assert [line["batch"] for line in facts["ratios"]] == [4, 8] * 3
    assert all(line["ratio"]["value"] > 0 for line in facts["ratios"])
    assert all(0 <= part < 1 for part in facts["idle"].values())
    assert "rollout tokens per second: engine / transformers' generate" in result.output
