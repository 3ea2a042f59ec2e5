"""``motet bench ppo``: what is asked of it, and the whole way with the policy itself in the engine's place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from motet_alignment.train.ppo.samplers.transformers_sampler import TransformersSampler
from motet_benchmarks.cli import app
from motet_benchmarks.ppo import run
from motet_benchmarks.ppo.reference import in_training


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--batches", "32,none"], "--batches 32,none: must be whole numbers"),
        (["--batches", "32,4096"], "--batches 32,4096: at most 2,048 prompts"),
        (["--seed", "-1"], "--seed -1: "),
        (["--out", "/proc/nothing"], "--out /proc/nothing: can't write there"),
    ],
)
def test_what_cannot_be_measured_is_told_at_once(options: list[str], complaint: str):
    result = CliRunner().invoke(app, ["ppo", *options])
    assert result.exit_code == 2
    assert complaint in result.output


def test_a_few_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """tests/alignment/train/ppo/samplers has the engine's own part."""
    actors = []

    class Standing(TransformersSampler):
        """What the engine is asked, answered by the model in training."""

        def __init__(self, settings, base, place) -> None:
            super().__init__(settings, base, actors[-1])

        def logprobs(self, rollouts):
            return in_training(actors[-1], rollouts, tokens=512, device="cpu")

    make = run.ActorCritic

    def actor(*arguments, **named):
        actors.append(make(*arguments, **named))
        return actors[-1]

    monkeypatch.setattr(run, "ActorCritic", actor)
    monkeypatch.setattr(run, "EngineReference", Standing)
    words = "ppo --batches 4,8 --rounds 1 --loop-rounds 0 --max-answer 16".split()
    result = CliRunner().invoke(app, [*words, "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    facts = json.loads((tmp_path / "ppo.json").read_text())
    assert [line["batch"] for line in facts["ratios"]] == [4, 8] * 3
    assert all(line["ratio"]["value"] > 0 for line in facts["ratios"])
    assert all(0 <= part < 1 for part in facts["idle"].values())
    assert "rollout tokens per second: engine / transformers' generate" in result.output
