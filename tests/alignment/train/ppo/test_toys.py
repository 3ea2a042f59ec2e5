"""The real loop of updates on toys whose best policy is known in closed form, both estimators."""

from __future__ import annotations

import pytest
import torch
from tests.alignment.train.ppo.table import TableActor, settings_of, together
from torch import Tensor

from motet_alignment.train import PpoSettings
from motet_alignment.train.ppo.equations import KlController
from motet_alignment.train.ppo.experience import gather_experience
from motet_alignment.train.ppo.learner import Learner

ESTIMATORS = {
    "gae": {"estimator": "gae", "value_learning_rate": 0.1, "prompts": 64},
    "rloo": {"estimator": "rloo", "prompts": 32, "answers": 4},
}

#: One of four arms, which the reference doesn't draw alike.
ARMS = torch.tensor([[0.4, 1.0, -0.5, 0.8]])
#: Two questions, each with the rewards of END (0), then 10 11 12, then 20 21 22. A first token is worth what follows:
#: in the first question 2 is the worst one as the reference goes on, and the best answer begins with it.
STEPS = torch.tensor([[0.2, 0.1, 0.3, 0.2, -0.3, 1.0, -0.3], [-0.2, 0.3, -0.3, 0.4, 0.0, 0.1, 0.9]])


def bandit() -> tuple[TableActor, Tensor]:
    reference = torch.tensor([0.4, 0.1, 0.2, 0.3]).log()
    return TableActor(4, 1, reference.expand(5, 4)), ARMS


def two_steps() -> tuple[TableActor, Tensor]:
    skewed = torch.tensor([[0.3, 0.5, 0.2], [0.25, 0.35, 0.4], [0.2, 0.3, 0.5], [0.5, 0.25, 0.25]]).log()
    return TableActor(3, 2, torch.cat([skewed, skewed.flip(-1)])), STEPS


def train(
    actor: TableActor, rewards: Tensor, settings: PpoSettings, seed: int = 0
) -> tuple[list[dict[str, float]], KlController]:
    """What a training does, from the policy's answers to its steps."""
    learner, dice = Learner(actor, settings, together()), torch.Generator().manual_seed(seed)
    place = {answer: number for number, answer in enumerate(actor.every_answer())}
    controller = KlController(settings.kl_coefficient, settings.kl_target, settings.kl_horizon)
    prompts = [number % len(rewards) for number in range(settings.prompts) for _ in range(settings.answers)]
    told: list[dict[str, float]] = []
    for iteration in range(settings.iterations):
        rollouts = actor.sample(prompts, dice)
        scores = [rewards[one.prompt.ids[0], place[one.ids]].item() for one in rollouts]
        experience = gather_experience(
            actor, rollouts, scores, settings, controller.coefficient, learner.together
        )
        told.append({**experience.figures, **learner.update(experience, iteration)})
        controller = controller.updated(told[-1]["kl"], len(rollouts))
    return told, controller


def best(actor: TableActor, rewards: Tensor, beta: float, prompt: int) -> Tensor:
    """pi* = pi_ref exp(r / beta) / Z, which maximises E[r] - beta KL(pi || pi_ref)."""
    unscaled = actor.distribution(prompt, reference=True) * (rewards[prompt] / beta).exp()
    return unscaled / unscaled.sum()


def apart(one: Tensor, other: Tensor) -> float:
    """Total variation."""
    return 0.5 * (one - other).abs().sum().item()


@pytest.mark.parametrize("make", [bandit, two_steps])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_without_a_price_the_best_answer_wins(make, estimator: str):
    actor, rewards = make()
    for prompt in range(len(rewards)):  # it isn't what the policy starts with
        assert actor.distribution(prompt).argmax() != rewards[prompt].argmax()
    settings = settings_of(**ESTIMATORS[estimator], kl_coefficient=0, learning_rate=0.1, iterations=60)
    told, _ = train(actor, rewards, settings)
    for prompt in range(len(rewards)):
        assert actor.distribution(prompt)[rewards[prompt].argmax()] > 0.95
    assert told[-1]["reward"] > rewards.amax(-1).mean() - 0.1
    assert told[0]["reward"] < rewards.amax(-1).mean() - 0.4


@pytest.mark.parametrize("make", [bandit, two_steps])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_with_a_price_the_policy_is_the_closed_form(make, estimator: str):
    beta = 0.3
    actor, rewards = make()
    settings = settings_of(
        **ESTIMATORS[estimator], kl_coefficient=beta, learning_rate=0.1, schedule="linear", iterations=120
    )
    expected = [best(actor, rewards, beta, prompt) for prompt in range(len(rewards))]
    for prompt, one in enumerate(expected):
        assert apart(actor.distribution(prompt), one) > 0.2
    train(actor, rewards, settings)
    for prompt, one in enumerate(expected):
        assert apart(actor.distribution(prompt), one) < 0.02


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_an_entropy_bonus_has_its_closed_form_too(estimator: str):
    """E[r] + c H is greatest at pi* proportional to exp(r / c)."""
    actor, rewards = bandit()
    more = {"whiten_advantages": False, "update_kl": None} if estimator == "gae" else {}
    settings = settings_of(
        **ESTIMATORS[estimator],
        **more,
        kl_coefficient=0,
        entropy_coefficient=0.5,
        learning_rate=0.1,
        schedule="linear",
        iterations=120,
    )
    expected = (rewards[0] / 0.5).softmax(-1)
    assert apart(actor.distribution(0), expected) > 0.2
    train(actor, rewards, settings)
    assert apart(actor.distribution(0), expected) < 0.04


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("first", [0.12, 1.5])
def test_the_price_follows_the_target(estimator: str, first: float):
    """Too cheap or too dear to begin with, the price ends near the one whose closed form has the wanted KL."""
    actor, rewards = bandit()
    settings = settings_of(
        **ESTIMATORS[estimator],
        kl_coefficient=first,
        kl_target=0.4,
        kl_horizon=500 if estimator == "gae" else 1000,
        learning_rate=0.1,
        iterations=120,
    )
    told, controller = train(actor, rewards, settings)
    assert sum(one["kl"] for one in told[-20:]) / 20 == pytest.approx(0.4, rel=0.2)

    def kl(beta: float) -> float:
        policy, reference = best(actor, rewards, beta, 0), actor.distribution(0, reference=True)
        return (policy * (policy / reference).log()).sum().item()

    right = min((0.01 * step for step in range(5, 200)), key=lambda beta: abs(kl(beta) - 0.4))
    assert controller.coefficient == pytest.approx(right, rel=0.35)
    assert first != pytest.approx(right, rel=0.6)
