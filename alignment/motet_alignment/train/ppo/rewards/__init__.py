"""Where rewards come from: reward adapters, a server's, installed graders, your own code, scorers over HTTP."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from motet_alignment.errors import TrainError
from motet_alignment.store import Adapter
from motet_alignment.train.models import Base
from motet_alignment.train.ppo.rewards.adapter import AdapterReward, AdapterScorers, reward_adapter
from motet_alignment.train.ppo.rewards.function import FunctionReward
from motet_alignment.train.ppo.rewards.grader import find_grader
from motet_alignment.train.ppo.rewards.judging import Judged, Rewards, Source
from motet_alignment.train.ppo.rewards.penalties import Penalties
from motet_alignment.train.ppo.rewards.reward import Answered, Reward
from motet_alignment.train.ppo.rewards.scorer import ScorerReward
from motet_alignment.train.ppo.rewards.server import ServerReward
from motet_alignment.train.ppo.settings import PpoSettings

__all__ = [
    "AdapterScorers",
    "Answered",
    "Judged",
    "Reward",
    "Rewards",
    "first_reward_adapter",
    "make_rewards",
    "pinned",
    "reward_references",
]


def make_rewards(
    specs: Sequence[str],
    weights: Sequence[float],
    settings: PpoSettings,
    base: Base,
    scorers: AdapterScorers,
    *,
    option: str = "--reward",
    penalised: bool = True,
) -> Rewards:
    """The rewards that `specs` name, as `option` does, with a weight each; less the settings' penalties.

    `penalised=False` leaves these out. Raises TrainError, StoreError naming the reward that can't be had.
    """
    if twice := [spec for place, spec in enumerate(specs) if spec in specs[:place]]:
        raise TrainError(f"{option} {twice[0]}: given twice; give it a --weight instead")
    sources = []
    for spec, weight in zip(specs, weights, strict=True):
        said = f"{option} {spec}"
        sources.append(Source(spec, said, _reward(spec, said, settings, base, scorers), weight))
    return Rewards(
        sources,
        Penalties.of(settings) if penalised else Penalties(),
        partial(base.tokenizer.encode, add_special_tokens=False),
    )


def first_reward_adapter(settings: PpoSettings, base: Base) -> Adapter | None:
    """The first of the settings' rewards that is an adapter of this base; None where none is.

    Raises TrainError, StoreError.
    """
    return next(_adapters(settings, base), None)


def reward_references(settings: PpoSettings, base: Base) -> list[str]:
    """``NAME@VERSION`` of every reward that is an adapter. Raises TrainError, StoreError."""
    return [adapter.reference for adapter in _adapters(settings, base)]


def pinned(spec: str, settings: PpoSettings, base: Base, option: str = "--reward") -> str:
    """A reward as it is named, but a reward adapter with its version. Raises TrainError."""
    kind, _, rest = spec.partition(":")
    if kind != "adapter":
        return spec
    return f"adapter:{reward_adapter(rest, f'{option} {spec}', settings.store, base).reference}"


def _adapters(settings: PpoSettings, base: Base) -> Iterator[Adapter]:
    for spec in settings.reward:
        kind, _, rest = spec.partition(":")
        if kind == "adapter":
            yield reward_adapter(rest, f"--reward {spec}", settings.store, base)


def _reward(spec: str, said: str, settings: PpoSettings, base: Base, scorers: AdapterScorers) -> Reward:
    kind, _, rest = spec.partition(":")
    match kind:
        case "adapter":
            return AdapterReward(rest, said, settings.store, base, scorers)
        case "server":
            return ServerReward(rest, said, settings, base)
        case "python":
            return FunctionReward(rest, said)
        case "http" | "https":
            return ScorerReward(spec, said)
    return find_grader(spec, said)
