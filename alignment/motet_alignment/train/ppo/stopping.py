"""Which version of a policy is best, and whether its training should end: pure functions of the evaluations so far."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist, fmean
from typing import Any

from motet_alignment.train.estimates import Estimate, ratio
from motet_alignment.train.ppo.settings import PpoSettings


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How one version of the policy answered the held-out prompts: the same ones, in the same order, every time."""

    iteration: int
    #: One a prompt.
    rewards: tuple[float, ...]
    #: What the answers are truly worth, one a prompt; None where nobody says.
    gold: tuple[float, ...] | None
    #: An answer's mean divergence from the reference, in nats; None where nobody measured the start's.
    kl: float | None
    #: An answer's mean tokens.
    length: float
    #: Share of answers that ended by themselves.
    ended: float

    def figures(self) -> dict[str, Estimate | float]:
        """reward and gold with 95% intervals, kl, length and ended."""
        found: dict[str, Estimate | float] = {"reward": mean(self.rewards)}
        if self.gold is not None:
            found["gold"] = mean(self.gold)
        if self.kl is not None:
            found["kl"] = self.kl
        return {**found, "length": self.length, "ended": self.ended}

    def as_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Evaluation:
        """Undoes `as_json`."""
        gold = value["gold"]
        return cls(
            **{
                **value,
                "rewards": tuple(value["rewards"]),
                "gold": None if gold is None else tuple(gold),
            }
        )


def mean(values: Sequence[float]) -> Estimate:
    """The mean with its 95% interval. `values`: [prompts], one or more."""
    return ratio(values, [1.0] * len(values))


def gain(before: Sequence[float], after: Sequence[float]) -> Estimate:
    """The mean of after - before, prompt by prompt, with its 95% interval. Both [prompts]."""
    return mean([new - old for old, new in zip(before, after, strict=True)])


def worth(evaluation: Evaluation) -> float:
    """What versions are compared by: mean gold where there is gold, else mean reward."""
    return fmean(evaluation.rewards if evaluation.gold is None else evaluation.gold)


def best(history: Sequence[Evaluation]) -> Evaluation:
    """The version worth most, the first of equals. `history`: one or more, by iteration."""
    return max(history, key=worth)


def ending(history: Sequence[Evaluation], settings: PpoSettings) -> str | None:
    """Why the run should end after the last of these evaluations, in words; None where it should go on."""
    last = history[-1]
    return (
        too_far(last.kl, settings) or _over_optimised(history) or _out_of_patience(history, settings.patience)
    )


def too_far(kl: float | None, settings: PpoSettings) -> str | None:
    """Says so where an answer's mean divergence from the reference, in nats, is above what the settings bear."""
    if kl is None or kl <= settings.highest_kl:
        return None
    bound = "--max-kl" if settings.max_kl is not None else "four times --kl-target"
    return f"an answer's KL from the reference, {kl:.2f} nats, is above {settings.highest_kl:g} ({bound})"


def _over_optimised(history: Sequence[Evaluation]) -> str | None:
    """Rewards that rise while gold falls: since the version of most gold, significantly."""
    last, peak = history[-1], best(history)
    if last.gold is None or peak.gold is None or last is peak:
        return None
    if fmean(last.rewards) <= fmean(peak.rewards):
        return None
    change = gain(peak.gold, last.gold)
    # The peak was picked as the highest, and this is asked after every evaluation: chance alone would sooner or later
    # say yes. With Bonferroni's bound the interval holds for all pairs of evaluations so far at
    # once. A run that goes on too long loses time; one that ends too early loses the better versions to come.
    looks = len(history) * (len(history) - 1) / 2
    wider = NormalDist().inv_cdf(1 - 0.025 / looks) / NormalDist().inv_cdf(0.975)
    high = change.value + wider * (change.high - change.value)
    if high >= 0:
        return None
    return (
        f"over-optimisation: since iteration {peak.iteration} the reward rose from {fmean(peak.rewards):.3f} to "
        f"{fmean(last.rewards):.3f}, and gold fell from {worth(peak):.3f} to {worth(last):.3f}"
    )


def _out_of_patience(history: Sequence[Evaluation], patience: int | None) -> str | None:
    since = len(history) - 1 - history.index(best(history))
    if patience is None or since < patience:
        return None
    evaluations = "evaluation" if since == 1 else "evaluations"
    return f"{since} {evaluations} without a better version than iteration {best(history).iteration}'s"


def outcome(
    history: Sequence[Evaluation], *, iterations: int, seconds: float, stopped: str | None
) -> dict[str, Estimate | float | int | str]:
    """The metrics of a run that is over.

    Held-out reward and gold of the start and of the best version, the difference prompt by prompt, the best version's
    KL, and why the run ended. `history` begins with the start; `iterations` were made in all.
    """
    first, chosen = history[0], best(history)
    found: dict[str, Estimate | float | int | str] = {"iterations": iterations}
    found["best_iteration"] = chosen.iteration
    found |= _gained("reward", first.rewards, chosen.rewards)
    if first.gold is not None and chosen.gold is not None:
        found |= _gained("gold", first.gold, chosen.gold)
    if chosen.kl is not None and math.isfinite(chosen.kl):
        found["kl"] = round(chosen.kl, 4)
    found["seconds"] = round(seconds, 1)
    found["stopped"] = stopped or "all iterations are made"
    return found


def _gained(name: str, before: Sequence[float], after: Sequence[float]) -> dict[str, Estimate]:
    return {f"start_{name}": mean(before), f"best_{name}": mean(after), f"gain_{name}": gain(before, after)}
