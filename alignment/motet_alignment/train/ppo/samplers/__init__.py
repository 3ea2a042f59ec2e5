"""Who answers the prompts: an engine, a server, or plain transformers.

Samplers say nothing of the reference: its log-probabilities come from the training process. An engine's
`prompt_logprobs` were measured against that on 256 answers of the bundled policy (11,259 tokens with their prompts, one
CPU thread each, cores that had other work too): 11,000 tokens a second for the base and 8,500 for an adapter, against
7,200 and 6,000 in fp32 and 13,800 for an adapter under bf16 autocast, figures up to 1.2e-5 nats apart. About half a
second for those answers would be won in fp32, and with it lost that a policy which hasn't moved is exactly at its
reference.
"""

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
