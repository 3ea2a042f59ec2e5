"""Training of adapters: SFT, reward models and DPO on TRL and PEFT, from data files to the adapter store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from motet_alignment.train.settings import DpoSettings, RewardSettings, SftSettings, TrainSettings

if TYPE_CHECKING:
    from motet_alignment.train.session import Trained

__all__ = [
    "DpoSettings",
    "RewardSettings",
    "SftSettings",
    "TrainSettings",
    "train",
    "train_dpo",
    "train_reward",
    "train_sft",
]


def train(settings: TrainSettings, *, progress: bool = True) -> Trained:
    """Trains what the settings ask for, evaluates it and publishes it. Raises AlignmentError."""
    from motet_alignment.train import run  # loads torch and TRL

    return run.train(settings, progress=progress)


def train_sft(settings: SftSettings, *, progress: bool = True) -> Trained:
    """Supervised fine-tuning. Raises AlignmentError."""
    return train(settings, progress=progress)


def train_reward(settings: RewardSettings, *, progress: bool = True) -> Trained:
    """A reward model. Raises AlignmentError."""
    return train(settings, progress=progress)


def train_dpo(settings: DpoSettings, *, progress: bool = True) -> Trained:
    """Direct preference optimization. Raises AlignmentError."""
    return train(settings, progress=progress)
