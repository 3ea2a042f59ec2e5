"""The gym: families of short instructions with exact graders, for training and measuring toy models."""

from __future__ import annotations

from motet_benchmarks.gym.families import FAMILIES
from motet_benchmarks.gym.family import Family
from motet_benchmarks.gym.instance import ANSWER, SHOW_STEPS, Instance, Mistake, Step, Turn
from motet_benchmarks.gym.splits import Split, instances, split_of, stream, vocabulary

__all__ = [
    "ANSWER",
    "FAMILIES",
    "SHOW_STEPS",
    "Family",
    "Instance",
    "Mistake",
    "Split",
    "Step",
    "Turn",
    "instances",
    "split_of",
    "stream",
    "vocabulary",
]
