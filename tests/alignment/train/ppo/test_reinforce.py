"""REINFORCE with leave-one-out is unbiased: its exact expectation over all answers is the exact gradient.

Three tokens, answers of one or two of them, so of different lengths; nothing is drawn, everything is summed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from tests.alignment.train.ppo.table import TableActor, settings_of, together
from torch import Tensor

from motet_alignment.train.ppo import equations
from motet_alignment.train.ppo.experience import gather_experience
from motet_alignment.train.ppo.learner import Learner

BETA = 0.3


def table(seed: int) -> tuple[TableActor, Tensor]:
    """A random policy away from a random reference, and a random reward for each answer."""
    dice = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=dice, dtype=torch.float64)

    actor = TableActor(3, 2, random(4, 3).log_softmax(-1))
    actor.logits.data = random(4, 3)
    return actor, 2 * random(len(actor.every_answer()))


def exact_gradient(actor: TableActor, rewards: Tensor, coefficient: float) -> Tensor:
    """Of sum_y pi(y) (r(y) - coefficient log(pi(y) / pi_ref(y))), straight from its definition."""
    policy, reference = actor.distribution(0), actor.distribution(0, reference=True)
    objective = (policy * (rewards - coefficient * (policy / reference).log())).sum()
    (found,) = torch.autograd.grad(objective, actor.logits)
    return found


def expected_estimate(
    actor: TableActor,
    rewards: Tensor,
    answers: int,
    *,
    baseline: Callable[[Tensor], Tensor] = equations.leave_one_out,
    kind: equations.KlEstimate = "k1",
    token_mean: bool = False,
) -> Tensor:
    """The mean of the estimator's gradient over every possible group of answers to one prompt."""
    every = actor.every_answer()
    groups = torch.tensor(list(itertools.product(range(len(every)), repeat=answers)))
    mask = torch.tensor([[1.0, float(len(answer) > 1)] for answer in every], dtype=torch.float64)
    states = torch.tensor([[actor.state(0), actor.state(0, answer)] for answer in every])
    tokens = torch.tensor([[*answer, 0][:2] for answer in every])
    logprobs = actor.logits.log_softmax(-1)[states, tokens]  # [every answer, tokens]
    reference = actor.reference[states, tokens]

    kl = equations.kl_estimate(logprobs, reference, kind).detach()
    whole = equations.token_rewards(rewards, kl, mask, BETA).sum(-1)
    advantages = baseline(whole[groups])  # [groups, answers]
    loss = equations.reinforce_loss(logprobs[groups], advantages.unsqueeze(-1)) * mask[groups]
    if token_mean:
        loss = loss / mask[groups].sum(-1, keepdim=True)
    each = loss.sum(-1).mean(-1)  # a token's losses add up, answers' are averaged
    probability = actor.distribution(0).detach()[groups].prod(-1)
    assert math.isclose(probability.sum().item(), 1)
    (found,) = torch.autograd.grad((probability * each).sum(), actor.logits)
    return -found


@pytest.mark.parametrize("answers", [2, 3])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_expected_estimate_is_the_gradient(seed: int, answers: int):
    actor, rewards = table(seed)
    exact = exact_gradient(actor, rewards, BETA)
    assert exact.abs().max() > 0.01
    assert torch.allclose(expected_estimate(actor, rewards, answers), exact, rtol=0, atol=1e-12)


@pytest.mark.parametrize("answers", [2, 3])
def test_a_baseline_that_knows_the_answer_shrinks_it(answers: int):
    actor, rewards = table(0)
    exact = exact_gradient(actor, rewards, BETA)
    biased = expected_estimate(
        actor, rewards, answers, baseline=lambda whole: whole - whole.mean(-1, keepdim=True)
    )
    assert not torch.allclose(biased, exact, rtol=1e-2, atol=1e-3)
    assert torch.allclose(biased, exact * (answers - 1) / answers)


def test_the_mean_over_an_answer_s_tokens_is_another_gradient():
    actor, rewards = table(0)
    exact = exact_gradient(actor, rewards, BETA)
    biased = expected_estimate(actor, rewards, 2, token_mean=True)
    assert not torch.allclose(biased, exact, rtol=1e-2, atol=1e-3)
    # Not even in another direction's unit: no factor makes it the gradient.
    cosine = torch.nn.functional.cosine_similarity(biased.flatten(), exact.flatten(), dim=0)
    assert cosine < 0.999


def test_k3_as_the_price_is_another_gradient():
    actor, rewards = table(0)
    biased = expected_estimate(actor, rewards, 2, kind="k3")
    assert not torch.allclose(biased, exact_gradient(actor, rewards, BETA), rtol=1e-2, atol=1e-3)


def expected_step(actor: TableActor, rewards: Tensor, sampler: Tensor | None, cap: float | None) -> Tensor:
    """The learner's own plain step, in expectation: every pair of answers through it, weighed by its probability.

    `sampler`: probabilities of all answers under what draws them; None: the policy itself does.
    """
    settings = settings_of(
        estimator="rloo", prompts=1, answers=2, learning_rate=1.0, clip=1e6, importance_cap=cap
    )
    learner = Learner(actor, settings, together())
    learner.policy_optimizer = torch.optim.SGD([actor.logits], lr=1.0)  # type: ignore[assignment]
    start = actor.logits.detach().clone()
    probability = actor.distribution(0).detach() if sampler is None else sampler
    expected, every = torch.zeros_like(start), actor.every_answer()
    for pair in itertools.product(range(len(every)), repeat=2):
        actor.logits.data = start.clone()
        rollouts = [actor.rollout(0, every[place]) for place in pair]
        if sampler is not None:
            said = [(sampler[place].log().item(),) for place in pair]
            rollouts = [replace(one, logprobs=seen) for one, seen in zip(rollouts, said, strict=True)]
        scores = [rewards[place].item() for place in pair]
        experience = gather_experience(actor, rollouts, scores, settings, BETA, learner.together)
        learner.update(experience, 0)
        expected += probability[list(pair)].prod() * (actor.logits.detach() - start)
    actor.logits.data = start
    return expected


def test_the_learner_s_own_steps_are_the_gradient_in_expectation():
    actor, rewards = table(3)
    exact = exact_gradient(actor, rewards, BETA)
    found = expected_step(actor, rewards, None, 2.0)
    assert torch.allclose(found, exact, rtol=0, atol=1e-6)  # experience is float32


def test_weights_make_up_for_a_sampler_that_draws_otherwise():
    """Answers of one token, where the ratio of tokens is the ratio of answers: uncut weights leave no bias."""
    dice = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 4, generator=dice, dtype=torch.float64)
    actor = TableActor(4, 1, logits[0].log_softmax(-1).expand(5, 4))
    actor.logits.data = logits[1].expand(5, 4).clone()
    rewards, sampler = torch.tensor([0.4, 1.0, -0.5, 0.8], dtype=torch.float64), logits[2].softmax(-1)
    exact = exact_gradient(actor, rewards, BETA)
    assert torch.allclose(expected_step(actor, rewards, sampler, 1e6), exact, rtol=0, atol=1e-6)
    assert not torch.allclose(expected_step(actor, rewards, sampler, None), exact, rtol=1e-2, atol=1e-2)
