"""How many answers at once, how often, and how long the loop runs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured."""

    batches: tuple[int, ...] = (32, 64, 128, 256)
    """Prompts that are answered at once."""
    rounds: int = 8
    minutes: float = 10.0
    """Rollouts are measured no longer, but for one round at least: no other is begun that might end later."""
    worked: float = 0.25
    """Part of the prompts with worked steps that asks for them: their answers are several times as long."""
    max_answer: int = 128
    """Tokens."""
    loop_rounds: int = 2
    """Short trainings with each sampler; 0 for none."""
    iterations: int = 4
    """Of each training; the first warms up and doesn't count."""
    prompts: int = 128
    """Answered in an iteration."""
    seed: int = 0
