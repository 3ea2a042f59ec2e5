"""The policy's steps: passes over an iteration's experience in minibatches, each cut into what memory holds."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from motet_alignment.errors import TrainError
from motet_alignment.train.ppo.equations import (
    clipped_policy_loss,
    clipped_value_loss,
    kl_estimate,
    masked_sum,
    reinforce_loss,
)
from motet_alignment.train.ppo.experience import Actor, Experience
from motet_alignment.train.ppo.microbatch import Microbatch
from motet_alignment.train.ppo.settings import PpoSettings
from motet_alignment.train.ppo.together import Together


@dataclass(slots=True)
class Sums:
    """What a minibatch adds up, over all its tokens and processes."""

    tokens: float = 0.0
    policy_loss: float = 0.0
    clipped: float = 0.0
    moved: float = 0.0  # nats between the policy that answered and the one that learns
    entropy: float = 0.0
    value_loss: float = 0.0
    value_clipped: float = 0.0

    def add(self, name: str, value: Tensor) -> None:
        """Adds a scalar."""
        setattr(self, name, getattr(self, name) + value.item())


@dataclass(slots=True)
class Learner:
    """Two AdamW optimizers, of the policy and of the values, which have no weight in common."""

    actor: Actor
    settings: PpoSettings
    together: Together
    device: str = "cpu"
    policy_optimizer: torch.optim.AdamW = field(init=False)
    value_optimizer: torch.optim.AdamW | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        """Makes the optimizers."""
        settings = self.settings
        decay = settings.weight_decay
        self.policy_optimizer = torch.optim.AdamW(
            list(self.actor.policy_parameters.values()), lr=settings.learning_rate, weight_decay=decay
        )
        if settings.estimator == "gae":
            self.value_optimizer = torch.optim.AdamW(
                list(self.actor.value_parameters.values()),
                lr=settings.value_learning_rate or settings.learning_rate,
                weight_decay=decay,
            )

    def update(
        self, experience: Experience, iteration: int, after: Callable[[int], None] = lambda more: None
    ) -> dict[str, float]:
        """Learns from an iteration's experience; means over what was learnt from, for people to read.

        `after` is told how many more steps are done. Ends early where the policy has moved further than the settings
        allow: that step is not taken. Raises TrainError where a loss or a gradient is no number; no step is taken then.
        """
        settings = self.settings
        rate = share_of_rate(settings, iteration)
        self._set_rates(rate)
        sums: list[Sums] = []
        norms: list[float] = []
        for places in self._minibatches(len(experience.rollouts), iteration):
            found = self._gradients(experience, places, iteration)
            stops = (
                settings.estimator == "gae"
                and settings.update_kl is not None
                and found.moved / found.tokens > settings.update_kl
            )
            if stops:
                sums.append(found)
                break
            norms.append(self._step(iteration, found))
            sums.append(found)
            after(1)
        self.policy_optimizer.zero_grad()
        if self.value_optimizer is not None:
            self.value_optimizer.zero_grad()
        return self._figures(sums, norms, rate)

    def _minibatches(self, count: int, iteration: int) -> Iterator[list[int]]:
        """Every rollout once a pass, in another order each; those of one prompt together where they are compared."""
        steps = self.settings.steps_a_pass
        for number in range(self.settings.passes):
            order = list(range(count))
            if steps > 1:
                random.Random(f"{self.settings.seed} {iteration} {number}").shuffle(order)
            for step in range(steps):
                yield order[count * step // steps : count * (step + 1) // steps]

    def _gradients(self, experience: Experience, places: Sequence[int], iteration: int) -> Sums:
        """Gradients of one minibatch's loss, whatever the number of microbatches and processes it is cut into."""
        settings = self.settings
        tokens, answers = self.together.sum(
            experience.mask[list(places)].sum(), torch.tensor(float(len(places)))
        )
        sums = Sums(tokens=tokens.item())
        # PPO's loss is a mean over tokens; REINFORCE's is unbiased only as a sum over an answer's.
        weight = (1 / tokens if settings.estimator == "gae" else 1 / answers).item()
        batches = experience.microbatches(places, settings.batch_tokens or 4096, self.device)
        if self._policy_learns(iteration):
            for batch in batches:
                self._policy_backward(experience, batch, weight, sums)
        if self.value_optimizer is not None:
            for batch in batches:
                self._value_backward(experience, batch, weight, sums)
        names = [name for name in Sums.__dataclass_fields__ if name != "tokens"]
        shared = self.together.sum(
            *(torch.tensor(getattr(sums, name), dtype=torch.float64) for name in names)
        )
        for name, value in zip(names, shared, strict=True):
            setattr(sums, name, value.item())
        return sums

    def _policy_backward(self, experience: Experience, batch: Microbatch, weight: float, sums: Sums) -> None:
        settings = self.settings
        priced = settings.entropy_coefficient > 0
        logprobs, spread = self.actor.logprobs(batch, with_entropy=priced)
        mask = batch.mask.to(logprobs.dtype)
        old, advantages = batch.of(experience.logprobs), batch.of(experience.advantages)
        if settings.estimator == "gae":
            each, clipped = clipped_policy_loss(logprobs, old, advantages, clip=settings.clip_range)
            sums.add("clipped", masked_sum(clipped.to(mask.dtype), mask))
        else:
            each = reinforce_loss(logprobs, advantages)
        loss = masked_sum(each * batch.of(experience.importance), mask)
        sums.add("policy_loss", loss.detach())
        sums.add("moved", masked_sum(kl_estimate(old, logprobs.detach(), "k3"), mask))
        if spread is not None:
            whole = masked_sum(spread, mask)
            sums.add("entropy", whole.detach())
            loss = loss - settings.entropy_coefficient * whole
        (loss * weight).backward()

    def _value_backward(self, experience: Experience, batch: Microbatch, weight: float, sums: Sums) -> None:
        values = self.actor.values(batch)
        mask = batch.mask.to(values.dtype)
        each, clipped = clipped_value_loss(
            values,
            batch.of(experience.values),
            batch.of(experience.returns),
            clip=self.settings.value_clip_range,
        )
        loss = masked_sum(each, mask)
        sums.add("value_loss", loss.detach())
        sums.add("value_clipped", masked_sum(clipped.to(mask.dtype), mask))
        (loss * weight * self.settings.value_coefficient).backward()

    def _step(self, iteration: int, sums: Sums) -> float:
        """One step of those that learn; the norm of the first one's gradient, the policy's, before it was clipped."""
        norms = []
        pairs = []
        if self._policy_learns(iteration):
            pairs.append((self.policy_optimizer, self.actor.policy_parameters))
        if self.value_optimizer is not None:
            pairs.append((self.value_optimizer, self.actor.value_parameters))
        for _, parameters in pairs:
            self.together.sum_gradients(parameters.values())
            norms.append(nn.utils.clip_grad_norm_(parameters.values(), self.settings.clip).item())
        values = [sums.policy_loss, sums.value_loss, sums.entropy, *norms]
        if not all(math.isfinite(value) for value in values):
            raise TrainError(
                f"iteration {iteration + 1}: the loss is no number any more (policy {sums.policy_loss}, value "
                f"{sums.value_loss}, gradient {norms[0]}); no step was taken. Lower --learning-rate, or give rewards a "
                "bound by --reward-clip"
            )
        for optimizer, _ in pairs:
            optimizer.step()
            optimizer.zero_grad()
        return norms[0]

    def _policy_learns(self, iteration: int) -> bool:
        return self.value_optimizer is None or iteration >= self.settings.value_warm_up

    def _set_rates(self, share: float) -> None:
        for group in self.policy_optimizer.param_groups:
            group["lr"] = self.settings.learning_rate * share
        if self.value_optimizer is not None:
            rate = self.settings.value_learning_rate or self.settings.learning_rate
            for group in self.value_optimizer.param_groups:
                group["lr"] = rate * share

    def _figures(self, sums: Sequence[Sums], norms: Sequence[float], rate: float) -> dict[str, float]:
        tokens = sum(one.tokens for one in sums)

        def mean(name: str) -> float:
            return float(sum(getattr(one, name) for one in sums) / tokens)

        figures = {
            "policy_loss": mean("policy_loss"),
            # The last minibatch is the one furthest from the policy that answered.
            "update_kl": sums[-1].moved / sums[-1].tokens,
            "steps": float(len(norms)),
            "gradient_norm": sum(norms) / max(len(norms), 1),
            "learning_rate": self.settings.learning_rate * rate,
        }
        if self.settings.estimator == "gae":
            figures |= {"clip_fraction": mean("clipped"), "value_loss": mean("value_loss")}
            figures["value_clip_fraction"] = mean("value_clipped")
        return figures


def share_of_rate(settings: PpoSettings, iteration: int) -> float:
    """The part of the highest learning rate that iteration `iteration`, from 0, has: up during warm-up, then down."""
    rising = math.ceil(settings.warm_up * settings.iterations)
    if iteration < rising:
        return (iteration + 1) / rising
    passed = (iteration - rising) / max(settings.iterations - rising, 1)
    match settings.schedule:
        case "cosine":
            return 0.5 * (1 + math.cos(math.pi * passed))
        case "linear":
            return 1 - passed
        case "constant":
            return 1.0
