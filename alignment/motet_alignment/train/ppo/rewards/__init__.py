"""Where rewards come from: reward adapters, a server's, installed graders, your own code, scorers over HTTP."""

from __future__ import annotations

from collections.abc import Sequence

from motet_alignment.errors import TrainError
from motet_alignment.train.models import Base
from motet_alignment.train.ppo.rewards.adapter import AdapterReward, AdapterScorers
from motet_alignment.train.ppo.rewards.graders import find_grader
from motet_alignment.train.ppo.rewards.judging import Judged, Rewards
from motet_alignment.train.ppo.rewards.penalties import Penalties
from motet_alignment.train.ppo.rewards.reward import Answered, Reward
from motet_alignment.train.ppo.settings import PpoSettings

__all__ = ["AdapterScorers", "Answered", "Judged", "Reward", "Rewards", "make_rewards"]


def make_rewards(
    specs: Sequence[str],
    weights: Sequence[float],
    settings: PpoSettings,
    base: Base,
    scorers: AdapterScorers,
    *,
    penalised: bool = True,
) -> Rewards:
    """The rewards that `specs` name, as --reward does, with a weight each; less the settings' penalties.

    `penalised=False` leaves these out. Raises TrainError, StoreError naming the reward that can't be had.
    """
    if twice := [spec for place, spec in enumerate(specs) if spec in specs[:place]]:
        raise TrainError(f"--reward {twice[0]}: given twice; give it a --weight instead")
    sources = {spec: _source(spec, settings, base, scorers) for spec in specs}
    return Rewards(sources, weights, Penalties.of(settings) if penalised else Penalties())


def _source(spec: str, settings: PpoSettings, base: Base, scorers: AdapterScorers) -> Reward:
    kind, _, rest = spec.partition(":")
    match kind:
        case "adapter" if rest:
            return AdapterReward(rest, settings.store, base, scorers)
    return find_grader(spec)
