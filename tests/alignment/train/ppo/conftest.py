"""A reward adapter of the tiny base."""

from __future__ import annotations

from pathlib import Path

import pytest

from motet_alignment.store import Adapter
from motet_alignment.train import RewardSettings, train


@pytest.fixture(scope="session")
def judge(tmp_path_factory: pytest.TempPathFactory, tiny: Path, pairs: Path) -> Adapter:
    """A reward adapter."""
    home = tmp_path_factory.mktemp("judge")
    told = RewardSettings(
        model=str(tiny),
        data=(pairs,),
        name="judge",
        rank=4,
        learning_rate=5e-3,
        epochs=1,
        held_out=0.0,
        precision="fp32",
        device="cpu",
        store=home / "store",
        folder=home / "run",
    )
    trained = train(told, progress=False).adapter
    assert trained is not None
    return trained
