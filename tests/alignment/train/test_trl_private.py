"""The private hooks of TRL and transformers that trainers rely on still stand where they stood (TRL 1.16, 5.19)."""

from __future__ import annotations

import inspect

import pytest
from tests.alignment.train.test_trainers import built

from motet_alignment.train import DpoSettings
from motet_alignment.train.trl_private import Quiet


@pytest.mark.parametrize("name", ["SFTTrainer", "RewardTrainer", "DPOTrainer"])
def test_what_is_overridden_is_still_called(name):
    import trl

    trainer = getattr(trl, name)
    text = inspect.getsource(inspect.getmodule(trainer))
    base = inspect.getsource(inspect.getmodule(trainer.__mro__[1]))
    assert "self._prepare_dataset(" in text
    assert "self.create_model_card(" in text
    assert "self._send_telemetry()" in base
    for hook in ("_prepare_dataset", "_send_telemetry", "create_model_card"):
        assert hook in vars(Quiet)
        assert any(hook in vars(cls) for cls in trainer.__mro__), hook


def test_batches_go_where_the_trainer_computes():
    from transformers import Trainer

    assert list(inspect.signature(Trainer._prepare_inputs).parameters) == ["self", "inputs"]


def test_trl_keeps_no_second_adapter(place, pairs):
    """Its frozen copy is made at the start, and dropped: one adapter is trained, saved and kept in memory."""
    trainer = built(DpoSettings(**place, data=(pairs,), steps=1))
    assert list(trainer.model.peft_config) == ["default"]
    assert not [name for name, _ in trainer.model.named_parameters() if ".ref." in name]


def test_a_checkpoint_tells_nothing_of_a_model_card(place, pairs, tmp_path):
    trainer = built(DpoSettings(**place, data=(pairs,), steps=1))
    trainer.create_model_card(model_name="x")
    assert not list((tmp_path / "run").glob("README.md"))
