"""Training of adapters: SFT, reward models and DPO on TRL, PPO of our own, from data files to the adapter store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from motet_alignment.train.ppo.settings import PpoSettings
from motet_alignment.train.settings import (
    AdapterSettings,
    DpoSettings,
    RewardSettings,
    SftSettings,
    TrainSettings,
)

if TYPE_CHECKING:
    from motet_alignment.train.session import Trained

__all__ = [
    "AdapterSettings",
    "DpoSettings",
    "PpoSettings",
    "RewardSettings",
    "SftSettings",
    "TrainSettings",
    "train",
    "train_dpo",
    "train_ppo",
    "train_reward",
    "train_sft",
]


def train(settings: AdapterSettings, *, progress: bool = True) -> Trained:
    """Trains what the settings ask for, evaluates it and publishes it. Raises AlignmentError."""
    # Both load torch, and only one of them TRL.
    if isinstance(settings, PpoSettings):
        from motet_alignment.train.ppo import run as ppo

        return ppo.train(settings, progress=progress)
    if isinstance(settings, TrainSettings):
        from motet_alignment.train import run

        return run.train(settings, progress=progress)
    raise NotImplementedError(type(settings).__name__)


def train_sft(settings: SftSettings, *, progress: bool = True) -> Trained:
    """Supervised fine-tuning. Raises AlignmentError."""
    return train(settings, progress=progress)


def train_reward(settings: RewardSettings, *, progress: bool = True) -> Trained:
    """A reward model. Raises AlignmentError."""
    return train(settings, progress=progress)


def train_dpo(settings: DpoSettings, *, progress: bool = True) -> Trained:
    """Direct preference optimization. Raises AlignmentError."""
    return train(settings, progress=progress)


def train_ppo(settings: PpoSettings, *, progress: bool = True) -> Trained:
    """Proximal policy optimization. Raises AlignmentError."""
    return train(settings, progress=progress)
