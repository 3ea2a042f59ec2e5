"""Several rewards with their weights, asked one after the other, and less the penalties."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from motet_alignment.errors import AlignmentError, TrainError
from motet_alignment.train.ppo.rewards.penalties import Penalties
from motet_alignment.train.ppo.rewards.reward import Answered, Checks, Closes, Reward, answered_by, described
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


class Rewards:
    """All rewards of a run."""

    def __init__(self, sources: Mapping[str, Reward], weights: Sequence[float], penalties: Penalties) -> None:
        """`sources` by what names them in options, metrics and errors, with a weight each."""
        self._sources = dict(zip(sources.items(), weights, strict=True))
        self._penalties = penalties

    def __call__(self, rollouts: Sequence[Rollout]) -> list[Judged]:
        """What each answer is worth, in their order. Raises TrainError naming the reward and the sample."""
        answered = [answered_by(rollout) for rollout in rollouts]
        parts: list[dict[str, float]] = [{} for _ in rollouts]
        totals = [0.0] * len(rollouts)
        for (name, reward), weight in self._sources.items():
            for place, value in enumerate(asked(name, reward, answered)):
                parts[place][name] = value
                totals[place] += weight * value
        for place, rollout in enumerate(rollouts):
            taken = self._penalties(rollout)
            parts[place] |= taken
            totals[place] += sum(taken.values())
        return [Judged(total, found) for total, found in zip(totals, parts, strict=True)]

    def check(self, prompts: Sequence[Prompt]) -> None:
        """Asks every reward whether it can judge answers to these, and tries it on a made-up one to the first.

        Raises AlignmentError naming the reward and the sample.
        """
        for name, reward in (source for source in self._sources):
            if isinstance(reward, Checks):
                reward.check(prompts)
            first = prompts[0]
            asked(
                name,
                reward,
                [Answered(first.messages, TRIAL, True, first.row, first.source, first.ids, ())],
            )

    def close(self) -> None:
        """Ends those that have an end."""
        for _, reward in self._sources:
            if isinstance(reward, Closes):
                reward.close()


def asked(name: str, reward: Reward, answered: Sequence[Answered]) -> list[float]:
    """The reward's finite numbers, one an answer. Raises TrainError naming the reward and the sample."""
    if not answered:
        return []
    try:
        found = list(reward(answered))
    except AlignmentError:
        raise
    except Exception as error:
        raise TrainError(f"{_option(name)}: {_failure(reward, answered, error)}") from error
    if len(found) != len(answered):
        raise TrainError(
            f"{_option(name)}: gave {len(found)} rewards for {len(answered)} answers, from "
            f"{answered[0].source} to {answered[-1].source}"
        )
    for one, value in zip(answered, found, strict=True):
        if isinstance(value, str | bytes) or not _finite(value):
            raise TrainError(f"{_option(name)}: {value!r} is no finite number, for {described(one)}")
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
    return f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": ")


def _finite(value: object) -> bool:
    try:
        return math.isfinite(float(value))  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return False


def _option(name: str) -> str:
    return f"--reward {name}"
