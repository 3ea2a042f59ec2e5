"""An iteration's rollouts with all that the policy learns from: log-probabilities, rewards, values, advantages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from motet_alignment.train.ppo.equations import (
    explained_variance,
    generalized_advantages,
    importance_weights,
    kl_estimate,
    leave_one_out,
    masked_sum,
    moments,
    token_rewards,
    whiten,
)
from motet_alignment.train.ppo.microbatch import Microbatch, collate, cut
from motet_alignment.train.ppo.rollout import Rollout
from motet_alignment.train.ppo.settings import PpoSettings
from motet_alignment.train.ppo.together import Together


class Actor(Protocol):
    """What learns: a policy, and what it is measured against. Tables are [rows, answer tokens], in nats."""

    policy_parameters: Mapping[str, nn.Parameter]
    value_parameters: Mapping[str, nn.Parameter]

    def logprobs(self, batch: Microbatch, *, with_entropy: bool) -> tuple[Tensor, Tensor | None]:
        """Of the answers' tokens under the policy, with gradients, and the policy's entropy before each."""
        ...

    def reference_logprobs(self, batch: Microbatch) -> Tensor:
        """Of the answers' tokens under the reference."""
        ...

    def values(self, batch: Microbatch) -> Tensor:
        """The expected reward before each token, with gradients; asked for only where the estimator has values."""
        ...


@dataclass(frozen=True, slots=True)
class Experience:
    """Tables over this process's rollouts [rollouts, longest answer], on the CPU; 0 behind an answer's end."""

    rollouts: Sequence[Rollout]
    mask: Tensor
    logprobs: Tensor
    advantages: Tensor
    #: What values are learnt to be, and what they were; zeros where the estimator has none.
    returns: Tensor
    values: Tensor
    #: By what each token counts for having been drawn by an engine that rounds otherwise.
    importance: Tensor
    #: Means over all processes, for people to read.
    figures: Mapping[str, float]

    def microbatches(self, places: Sequence[int], tokens: int, device: str) -> list[Microbatch]:
        """These rollouts as tensors of at most `tokens` tokens."""
        return [collate(self.rollouts, part, device) for part in cut(self.rollouts, places, tokens)]


def gather_experience(
    actor: Actor,
    rollouts: Sequence[Rollout],
    scores: Sequence[float],
    settings: PpoSettings,
    kl_coefficient: float,
    together: Together,
    *,
    device: str = "cpu",
    after: Callable[[int], None] = lambda more: None,
) -> Experience:
    """Weighs rollouts: where one prompt has several answers, they stand side by side.

    `scores` are their rewards, penalties included. `after` is told how many more rollouts are done.
    """
    longest = max(len(rollout.ids) for rollout in rollouts)
    mask = torch.zeros(len(rollouts), longest)
    sampled = torch.zeros(len(rollouts), longest)
    for row, rollout in enumerate(rollouts):
        mask[row, : len(rollout.ids)] = 1
        if rollout.logprobs is not None:
            sampled[row, : len(rollout.ids)] = torch.tensor(rollout.logprobs)
    logprobs, reference, entropy, values = (torch.zeros_like(mask) for _ in range(4))
    for places in cut(rollouts, range(len(rollouts)), settings.batch_tokens or 4096):
        batch = collate(rollouts, places, device)
        rows, width = torch.tensor(places)[:, None], torch.arange(batch.answers.shape[1])
        with torch.no_grad():
            found, spread = actor.logprobs(batch, with_entropy=True)
            logprobs[rows, width] = found.float().cpu()
            entropy[rows, width] = torch.zeros_like(found).cpu() if spread is None else spread.float().cpu()
            reference[rows, width] = actor.reference_logprobs(batch).float().cpu()
            if settings.estimator == "gae":
                values[rows, width] = (actor.values(batch).float() * batch.mask).cpu()
        after(len(places))
    own = torch.tensor([rollout.logprobs is None for rollout in rollouts])
    sampled = torch.where(own[:, None], logprobs, sampled)
    return _weighed(
        rollouts,
        mask,
        logprobs,
        reference,
        entropy,
        values,
        sampled,
        scores,
        settings,
        kl_coefficient,
        together,
    )


def _weighed(
    rollouts: Sequence[Rollout],
    mask: Tensor,
    logprobs: Tensor,
    reference: Tensor,
    entropy: Tensor,
    values: Tensor,
    sampled: Tensor,
    scores: Sequence[float],
    settings: PpoSettings,
    kl_coefficient: float,
    together: Together,
) -> Experience:
    raw = torch.tensor(scores, dtype=torch.float32)
    scored = together.sum(*moments(raw, torch.ones_like(raw)))
    learnt = (
        whiten(raw, torch.ones_like(raw), shift=False, moments=scored) if settings.whiten_rewards else raw
    )
    if settings.reward_clip is not None:
        learnt = learnt.clamp(-settings.reward_clip, settings.reward_clip)
    kl = kl_estimate(logprobs, reference) * mask
    if settings.estimator == "gae":
        advantages, returns = generalized_advantages(
            token_rewards(learnt, kl, mask, kl_coefficient),
            values,
            mask,
            gamma=settings.gamma,
            lam=settings.gae_lambda,
        )
        if settings.whiten_advantages:
            shared = together.sum(*moments(advantages, mask))
            advantages = whiten(advantages, mask, moments=shared)
    else:
        # The penalty is part of the reward that is compared: the gradient is that of E[reward - coefficient KL].
        whole = (learnt - kl_coefficient * kl.sum(-1)).view(-1, settings.answers)
        advantages = leave_one_out(whole).reshape(-1, 1) * mask
        returns = torch.zeros_like(mask)
    cap = settings.importance_cap
    importance = torch.ones_like(mask) if cap is None else importance_weights(logprobs, sampled, cap=cap)
    tokens, answers = mask.sum(), torch.tensor(float(len(rollouts)))
    sums = together.sum(
        tokens,
        answers,
        kl.sum(),
        masked_sum(entropy, mask),
        masked_sum((logprobs - sampled).abs(), mask),
        torch.tensor(float(sum(rollout.ended for rollout in rollouts))),
    )
    tokens, answers = sums[0], sums[1]
    count, total, squares = (value.item() for value in scored)
    figures = {
        "reward": total / count,
        "reward_std": max((squares - total**2 / count) / max(count - 1, 1), 0.0) ** 0.5,
        "kl": (sums[2] / answers).item(),
        "entropy": (sums[3] / tokens).item(),
        "length": (tokens / answers).item(),
        "ended": (sums[5] / answers).item(),
        "ratio_to_sampler": (sums[4] / tokens).item(),
    }
    if settings.estimator == "gae":
        seen, expected = (
            torch.tensor(together.gather(table[mask.bool()].tolist())) for table in (returns, values)
        )
        figures["explained_variance"] = explained_variance(expected, seen, torch.ones_like(seen))
        figures["value"] = expected.mean().item()
    return Experience(rollouts, mask, logprobs, advantages, returns, values, importance, figures)
