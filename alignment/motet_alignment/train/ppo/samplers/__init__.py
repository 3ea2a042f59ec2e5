"""Who answers the prompts: an engine, a server, or plain transformers."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol

from motet_alignment.train.devices import Place
from motet_alignment.train.models import Base
from motet_alignment.train.ppo.rollout import Sampler
from motet_alignment.train.ppo.settings import PpoSettings


class PolicyModel(Protocol):
    """The model in training, with the policy's adapter in it."""

    @property
    def model(self) -> Any:
        """PEFT's model."""
        ...

    def as_policy(self) -> AbstractContextManager[Any]:
        """The model with the policy's adapter switched on, and no other."""
        ...


def make_sampler(settings: PpoSettings, base: Base, place: Place, policy_model: PolicyModel) -> Sampler:
    """The sampler that `settings` asks for, started. Raises TrainError where it can't be had."""
    if settings.sampler == "engine":
        from motet_alignment.train.ppo.samplers.engine_sampler import EngineSampler

        return EngineSampler(settings, base, place)
    if settings.sampler == "server":
        from motet_alignment.train.ppo.samplers.server_sampler import ServerSampler

        return ServerSampler(settings, base, place)
    from motet_alignment.train.ppo.samplers.transformers_sampler import TransformersSampler

    return TransformersSampler(settings, base, policy_model)
