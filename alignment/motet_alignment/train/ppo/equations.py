"""The equations of PPO and REINFORCE as pure functions of tensors.

Shapes are [rows, tokens] unless said, one row an answer. A `mask` is True (or 1) where a token of the answer is; what
stands elsewhere is never looked at and comes out as 0. Log-probabilities, entropies and KL divergences are in nats.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

KlEstimate = Literal["k1", "k3"]

#: Values that deviate less than this, in their own unit, are taken for equal: their noise is not made large.
_SMALLEST_DEVIATION = 1e-4


def masked_sum(values: Tensor, mask: Tensor) -> Tensor:  # [...], [...] -> []
    """Sum of the values where the mask is."""
    return values.masked_fill(~mask.bool(), 0).sum()


def kl_estimate(
    logprobs: Tensor,  # [...] log pi of tokens drawn from pi
    reference: Tensor,  # [...] log pi_ref of the same tokens
    kind: KlEstimate = "k1",
) -> Tensor:  # [...] nats
    """KL(pi || pi_ref) by one token drawn from pi (Schulman 2020, "Approximating KL divergence").

    k1 = log pi - log pi_ref, and k3 = exp(-k1) - 1 + k1, which is never negative and spreads less. Both have the KL as
    their mean. What rewards are charged is k1, because E[k1 grad log pi] is the KL's gradient and E[k3 grad log pi]
    isn't.
    """
    difference = logprobs - reference
    return difference if kind == "k1" else torch.expm1(-difference) + difference


def token_rewards(
    scores: Tensor,  # [rows] what the answers are worth
    kl: Tensor,  # [rows, tokens] nats
    mask: Tensor,  # [rows, tokens]
    coefficient: float,  # reward a nat
) -> Tensor:  # [rows, tokens]
    """r_t = -coefficient kl_t, and at the answer's last token the score on top of it.

    Ziegler et al. 2019 (arXiv 1909.08593, eq. 2), token by token as Ouyang et al. 2022 (arXiv 2203.02155). A row's
    sum is score - coefficient sum_t kl_t. A row without tokens has no last one: its score stands nowhere.
    """
    inside = mask.bool()
    tokens_behind = inside.flip(-1).cumsum(-1).flip(-1)  # this one included
    last = inside & (tokens_behind == 1)
    return (-coefficient * kl).masked_fill(~inside, 0) + last * scores.unsqueeze(-1)


def generalized_advantages(
    rewards: Tensor,  # [rows, tokens]
    values: Tensor,  # [rows, tokens] V(s_t): what is expected before token t is drawn
    mask: Tensor,  # [rows, tokens]
    *,
    gamma: float,
    lam: float,
) -> tuple[Tensor, Tensor]:  # advantages, returns: [rows, tokens] each
    """A_t = sum_k (gamma lam)^k delta_{t+k} with delta_t = r_t + gamma V_{t+1} - V_t, and the returns R_t = A_t + V_t.

    Schulman et al. 2016 (arXiv 1506.02438, eq. 16); the returns, TD(lam)'s, are what the values learn. An answer ends
    where its mask does, with nothing to be expected behind. Gaps in a mask are stepped over, as if the tokens around
    them were neighbours.
    """
    inside = mask.bool()
    advantage = next_value = values.new_zeros(len(values))
    backwards: list[Tensor] = []
    for t in range(values.shape[1] - 1, -1, -1):
        delta = rewards[:, t] + gamma * next_value - values[:, t]
        advantage = torch.where(inside[:, t], delta + gamma * lam * advantage, advantage)
        next_value = torch.where(inside[:, t], values[:, t], next_value)
        backwards.append(advantage)
    if not backwards:
        return torch.zeros_like(values), torch.zeros_like(values)
    advantages = torch.stack(backwards[::-1], dim=1).masked_fill(~inside, 0)
    return advantages, (advantages + values).masked_fill(~inside, 0)


def leave_one_out(rewards: Tensor) -> Tensor:  # [groups, answers] -> [groups, answers]
    """A_i = r_i - mean of the rewards of the other answers to the same prompt.

    Kool et al. 2019 ("Buy 4 REINFORCE samples, get a baseline for free!"); for language models Ahmadian et al. 2024
    (arXiv 2402.14740). The baseline knows nothing of answer i, so the gradient stays unbiased. Raises
    ValueError where a group has fewer than two answers.
    """
    answers = rewards.shape[-1]
    if answers < 2:
        raise ValueError(f"leaving one out needs two answers to a prompt or more, not {answers}")
    return rewards - (rewards.sum(-1, keepdim=True) - rewards) / (answers - 1)


def moments(
    values: Tensor, mask: Tensor
) -> tuple[Tensor, Tensor, Tensor]:  # [...], [...] -> [] each, float64
    """Count, sum and sum of squares of the values where the mask is.

    They add up: the sum of several processes' moments is the moments of their values together.
    """
    inside = values.masked_fill(~mask.bool(), 0).double()  # squares of float32 would cancel in the variance
    return mask.bool().sum().double(), inside.sum(), inside.square().sum()


def whiten(
    values: Tensor,  # [...]
    mask: Tensor,  # [...]
    *,
    shift: bool = True,
    moments: tuple[Tensor, ...] | None = None,  # of all processes; of these values alone when left out
) -> Tensor:  # [...]
    """(x - mean) / s with the unbiased s^2 = sum (x - mean)^2 / (n - 1); without `shift` x / s.

    Ziegler et al. 2019 (arXiv 1909.08593) whiten rewards and advantages. Their rewards keep the mean, (x - mean) / s +
    mean; x / s is the same reward in another unit, so the best policy stays the best. Values that all but equal one
    another (s < 1e-4) are not divided.
    """
    count, total, squares = _moments(values, mask) if moments is None else moments
    mean = total / count.clamp(min=1)
    variance = (squares - count * mean.square()) / (count - 1).clamp(min=1)
    deviation = variance.clamp(min=0).sqrt()
    divisor = torch.where(deviation < _SMALLEST_DEVIATION, 1.0, deviation)
    moved = values.double() - mean if shift else values.double()
    return (moved / divisor).masked_fill(~mask.bool(), 0).to(values.dtype)


_moments = moments  # whiten's argument of that name hides the function


def importance_weights(
    logprobs: Tensor,  # [...] of the training model, before its first step
    sampled: Tensor,  # [...] of whoever drew the tokens
    *,
    cap: float,
) -> Tensor:  # [...] without gradient
    """min(pi_training / pi_sampler, cap): truncated importance sampling (Ionides 2008).

    Between an engine and a trainer: Yao et al. 2025, "Your efficient RL framework secretly brings you off-policy RL
    training".
    """
    return (logprobs - sampled).detach().exp().clamp(max=cap)


def clipped_policy_loss(
    logprobs: Tensor,  # [...] with gradient
    old: Tensor,  # [...] the same tokens' before the iteration's first step
    advantages: Tensor,  # [...]
    *,
    clip: float,
) -> tuple[Tensor, Tensor]:  # [...] loss, [...] bool
    """-min(r A, clip(r, 1 - clip, 1 + clip) A) a token with r = pi / pi_old, and whether the clipped term was less.

    Schulman et al. 2017 (arXiv 1707.06347, eq. 7). A clipped token has no gradient. A ratio out of range on the side
    that its advantage argues against is not clipped, and is pulled back.
    """
    ratio = (logprobs - old).exp()
    free, clipped = ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages
    return -torch.minimum(free, clipped), clipped < free


def reinforce_loss(logprobs: Tensor, advantages: Tensor) -> Tensor:  # [...], [...] -> [...]
    """-A log pi a token (Williams 1992): the log-derivative estimator, A taken as a constant.

    Summed over an answer's tokens and averaged over answers, its gradient is minus the expected reward's; any mean over
    tokens would weigh long answers otherwise.
    """
    return -advantages.detach() * logprobs


def clipped_value_loss(
    values: Tensor,  # [...] with gradient
    old: Tensor,  # [...] before the iteration's first step
    returns: Tensor,  # [...]
    *,
    clip: float | None,
) -> tuple[Tensor, Tensor]:  # [...] loss, [...] bool
    """max((v - R)^2, (v_c - R)^2) / 2 a token with v_c = old + clip(v - old, -clip, clip), and whether v_c's was more.

    As in the code published with PPO (Huang et al. 2022, "The 37 implementation details of PPO", detail 9). Without
    `clip` (v - R)^2 / 2.
    """
    free = 0.5 * (values - returns).square()
    if clip is None:
        return free, torch.zeros_like(free, dtype=torch.bool)
    clipped = 0.5 * (old + (values - old).clamp(-clip, clip) - returns).square()
    return torch.maximum(free, clipped), clipped > free


def entropy(logits: Tensor, temperature: float) -> Tensor:  # [..., vocabulary] -> [...]
    """-sum p log p of p = softmax(logits / temperature) (Shannon 1948), in nats, float32 at least.

    Tokens that are ruled out by a logit of -inf add nothing, neither to it nor to its gradient.
    """
    precise = logits.to(torch.promote_types(logits.dtype, torch.float32))
    logprobs = (precise / temperature).log_softmax(-1)
    ruled_out = logprobs == -torch.inf  # 0 log 0 would be NaN
    return -(logprobs.exp() * logprobs.masked_fill(ruled_out, 0)).sum(-1)


def explained_variance(values: Tensor, returns: Tensor, mask: Tensor) -> float:
    """1 - Var(R - V) / Var(R): 1 for values that foretell, 0 for ones as good as a constant, below 0 for worse.

    0 too where the returns don't vary, so that there is nothing to explain.
    """
    inside = mask.bool()
    seen, expected = returns[inside].double(), values[inside].double()
    spread = seen.var(correction=0).item() if seen.numel() else 0.0
    return 1 - (seen - expected).var(correction=0).item() / spread if spread > 0 else 0.0


@dataclass(frozen=True, slots=True)
class KlController:
    """What a nat of KL costs, and how that follows the KL there is (Ziegler et al. 2019, arXiv 1909.08593, 2.2)."""

    #: Reward taken off for a nat.
    coefficient: float
    #: Nats that an answer's KL is to have; None leaves the coefficient as it is.
    target: float | None = None
    #: Answers in which the coefficient changes by a fifth at most.
    horizon: int = 2000

    def updated(self, kl: float, answers: int) -> KlController:
        """The controller after so many answers whose mean KL was `kl` nats an answer.

        coefficient *= 1 + clip(kl / target - 1, -0.2, 0.2) * answers / horizon. More answers than the horizon count as
        the horizon: the factor stays in 0.8 .. 1.2, and the price above 0.
        """
        if self.target is None:
            return self
        error = min(max(kl / self.target - 1, -0.2), 0.2)
        return replace(self, coefficient=self.coefficient * (1 + error * min(answers / self.horizon, 1.0)))
