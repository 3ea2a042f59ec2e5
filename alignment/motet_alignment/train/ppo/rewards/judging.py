"""Several rewards with their weights, asked one after the other, and less the penalties."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from motet_alignment.errors import AlignmentError, TrainError
from motet_alignment.train.ppo.rewards.penalties import Penalties
from motet_alignment.train.ppo.rewards.reward import (
    Answered,
    Checks,
    Closes,
    Reward,
    answered_by,
    described,
    raised_at,
)
from motet_alignment.train.ppo.rollout import Prompt, Rollout

#: What rewards are tried on before the first rollout: a policy may say anything, and so this.
TRIAL = "I don't know."


@dataclass(frozen=True, slots=True)
class Judged:
    """What one answer is worth."""

    #: The weighted rewards' sum, less the penalties.
    total: float
    #: Each reward as it came, and each penalty as a number of at most 0.
    parts: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Source:
    """One reward among several."""

    #: What it is called in `Judged.parts`.
    name: str
    #: How it was asked for, which errors begin with.
    said: str
    reward: Reward
    weight: float


class Rewards:
    """All rewards of a run."""

    def __init__(
        self, sources: Sequence[Source], penalties: Penalties, encode: Callable[[str], Sequence[int]]
    ) -> None:
        """Their weighted sum, less the penalties. `encode`: a text's tokens, for what they are tried on."""
        self._sources, self._penalties, self._encode = tuple(sources), penalties, encode

    def __call__(self, rollouts: Sequence[Rollout]) -> list[Judged]:
        """What each answer is worth, in their order. Raises TrainError naming the reward and the sample."""
        answered = [answered_by(rollout) for rollout in rollouts]
        parts: list[dict[str, float]] = [{} for _ in rollouts]
        totals = [0.0] * len(rollouts)
        for source in self._sources:
            for place, value in enumerate(asked(source, answered)):
                parts[place][source.name] = value
                totals[place] += source.weight * value
        for place, rollout in enumerate(rollouts):
            taken = self._penalties(rollout)
            parts[place] |= taken
            totals[place] += sum(taken.values())
        return [Judged(total, found) for total, found in zip(totals, parts, strict=True)]

    def check(self, prompts: Sequence[Prompt]) -> None:
        """Asks every reward whether it can judge answers to these, and tries it on a made-up one to the first.

        Raises AlignmentError naming the reward and the sample.
        """
        first = prompts[0]
        ids = tuple(self._encode(TRIAL))
        trial = [Answered(first.messages, TRIAL, True, first.row, first.source, first.ids, ids)]
        for source in self._sources:
            if isinstance(source.reward, Checks):
                source.reward.check(prompts)
            asked(source, trial)

    def close(self) -> None:
        """Ends those that have an end."""
        for source in self._sources:
            if isinstance(source.reward, Closes):
                source.reward.close()


def asked(source: Source, answered: Sequence[Answered]) -> list[float]:
    """The reward's finite numbers, one an answer. Raises TrainError naming the reward and the sample."""
    if not answered:
        return []
    try:
        found = list(source.reward(answered))
    except AlignmentError:
        raise
    except Exception as error:
        raise TrainError(f"{source.said}: {_failure(source.reward, answered, error)}") from error
    if len(found) != len(answered):
        raise TrainError(
            f"{source.said}: gave {len(found)} rewards for {len(answered)} answers, from {answered[0].source} to "
            f"{answered[-1].source}"
        )
    for one, value in zip(answered, found, strict=True):
        if isinstance(value, str | bytes) or not _finite(value):
            raise TrainError(f"{source.said}: {value!r:.80} is no finite number, for {described(one)}")
    return [float(value) for value in found]


def _failure(reward: Reward, answered: Sequence[Answered], error: Exception) -> str:
    """Which sample it fails on, where one alone makes it fail."""
    for one in answered if len(answered) > 1 else ():
        try:
            list(reward([one]))
        except Exception as alone:  # noqa: BLE001 (somebody's own code may raise anything, and is told of)
            return f"{_told(alone)}, for {described(one)}"
    if len(answered) == 1:
        return f"{_told(error)}, for {described(answered[0])}"
    return f"{_told(error)}, for {len(answered)} answers together, from {described(answered[0])}"


def _told(error: Exception) -> str:
    return f"{raised_at(error)}{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": ")


def _finite(value: object) -> bool:
    try:
        return math.isfinite(float(value))  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError, RuntimeError):
        return False
