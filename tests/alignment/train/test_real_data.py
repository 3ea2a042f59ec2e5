"""Real data sets through a few steps of each trainer, on the bundled expert."""

from __future__ import annotations

from pathlib import Path

import pytest

from motet_alignment.train import DpoSettings, RewardSettings, SftSettings, train

DATA = Path(__file__).parents[4] / "shared" / "data"
CASES = [
    (SftSettings, "gsm8k/train_300.jsonl"),
    (SftSettings, "seed_tasks/seed_tasks.jsonl"),
    (RewardSettings, "preference/pairs.jsonl"),
    (DpoSettings, "preference/pairs.jsonl"),
]


@pytest.mark.parametrize(("settings", "name"), CASES, ids=lambda case: str(getattr(case, "__name__", case)))
def test_a_few_steps(settings, name: str, tmp_path: Path):
    file = DATA / name
    if not file.exists():
        pytest.skip(f"needs {name} of the real data sets beside the repository")
    trained = train(
        settings(
            data=(file,),
            name="real",
            store=tmp_path / "store",
            folder=tmp_path / "run",
            steps=2,
            batch_tokens=1024,
            held_out=0.02,
            context=256,
            on_bad="skip",
            eval_every=1000,
        )
    )
    assert trained.adapter is not None
    assert trained.metrics["held_out_loss"].value > 0
    assert trained.metrics["examples"] > 100
