"""Log-probabilities of given answers under the reference: out of the engine, and out of the training process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from motet_alignment.train.ppo.actor_critic import ActorCritic
from motet_alignment.train.ppo.microbatch import collate, cut
from motet_alignment.train.ppo.rollout import Rollout
from motet_alignment.train.ppo.samplers.engine_sampler import EngineSampler


class EngineReference(EngineSampler):
    """The engine sampler, asked also what it makes of answers that are there."""

    def logprobs(self, rollouts: Sequence[Rollout]) -> list[list[float]]:
        """Of each answer's tokens under the version followed, in nats, in one call.

        A reference of its own would have to be loaded beside the policy, or in turn with it; that isn't counted.
        """
        from vllm import SamplingParams

        asked = SamplingParams(temperature=1.0, max_tokens=1, prompt_logprobs=0, detokenize=False)
        whole = [{"prompt_token_ids": [*rollout.prompt.ids, *rollout.ids]} for rollout in rollouts]
        outputs = self._ask(lambda: self._outputs(whole, [asked] * len(whole)))
        return [
            _of_answer(rollout, out.prompt_logprobs) for rollout, out in zip(rollouts, outputs, strict=True)
        ]


def _of_answer(rollout: Rollout, table: Any) -> list[float]:
    first = len(rollout.prompt.ids)
    return [float(table[first + place][token].logprob) for place, token in enumerate(rollout.ids)]


def in_training(
    actor: ActorCritic, rollouts: Sequence[Rollout], *, tokens: int, device: str
) -> list[list[float]]:
    """Of each answer's tokens under the actor's reference, in nats, in microbatches of so many tokens."""
    found: dict[int, list[float]] = {}
    for places in cut(rollouts, range(len(rollouts)), tokens):
        table = actor.reference_logprobs(collate(rollouts, places, device)).float().cpu().tolist()
        found |= {place: row[: len(rollouts[place].ids)] for place, row in zip(places, table, strict=True)}
    return [found[place] for place in range(len(rollouts))]
