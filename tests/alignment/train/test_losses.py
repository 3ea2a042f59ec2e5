"""Our losses against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from motet_alignment.train import losses


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


def test_bradley_terry_takes_the_margin_off_the_difference():
    found = losses.bradley_terry(torch.tensor([2.0, 0.0]), torch.tensor([0.5, 1.0]), torch.tensor([0.5, 0.0]))
    assert found.tolist() == pytest.approx([softplus(-1.0), softplus(1.0)])


def test_centring_is_the_square_of_the_sum():
    assert losses.centring(torch.tensor([3.0, -1.0]), 0.01).tolist() == pytest.approx([0.09, 0.01])


def test_plackett_luce_of_three_by_hand_and_of_two_is_bradley_terry():
    rewards = torch.tensor([[2.0, 1.0, 0.0], [0.3, -0.2, 9.0]], requires_grad=True)
    present = torch.tensor([[True, True, True], [True, True, False]])
    found = losses.plackett_luce(rewards, present)
    first = math.log(sum(map(math.exp, (2, 1, 0)))) - 2
    second = math.log(math.exp(1) + math.exp(0)) - 1
    assert found.tolist() == pytest.approx([first + second, softplus(-0.5)], rel=1e-6)
    found.sum().backward()
    assert rewards.grad is not None
    assert torch.isfinite(rewards.grad).all()
    assert rewards.grad[1, 2] == 0  # what isn't there is not learnt from
    # A softmax's gradient: p - 1 for the best, p for the others.
    p = math.exp(0.3) / (math.exp(0.3) + math.exp(-0.2))
    assert rewards.grad[1, :2].tolist() == pytest.approx([p - 1, 1 - p], rel=1e-5)


def test_pointwise_targets():
    rewards, scores = torch.tensor([1.0, -2.0]), torch.tensor([0.25, 1.0])
    assert losses.regression(rewards, scores).tolist() == pytest.approx([0.5625, 9.0])
    assert losses.logistic(rewards, scores).tolist() == pytest.approx(
        [0.25 * softplus(-1) + 0.75 * softplus(1), softplus(2)]
    )


def test_mix_weighs_two_means():
    found = losses.mixed(torch.tensor(6.0), torch.tensor(20.0), torch.tensor([3.0, 10.0]), 0.75)
    assert found.item() == pytest.approx(0.75 * 2 + 0.25 * 2)


CHOSEN, REJECTED = torch.tensor([1.0]), torch.tensor([-2.0])
LENGTHS = (torch.tensor([2]), torch.tensor([4]))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, softplus(-0.3)),
        ({"loss": "hinge"}, 0.7),
        ({"loss": "ipo"}, (0.5 + 0.5 - 5) ** 2),
        ({"loss": "robust", "label_smoothing": 0.2}, (0.8 * softplus(-0.3) - 0.2 * softplus(0.3)) / 0.6),
        ({"length_normalised": True}, softplus(-0.1)),
        ({"confidence": torch.tensor([0.75])}, 0.75 * softplus(-0.3) + 0.25 * softplus(0.3)),
        ({"confidence": torch.tensor([1.0]), "loss": "hinge"}, 0.7),
    ],
)
def test_dpo(options, expected):
    assert losses.dpo(CHOSEN, REJECTED, *LENGTHS, beta=0.1, **options).item() == pytest.approx(expected)


@pytest.mark.parametrize("loss", ["sigmoid", "ipo", "robust", "hinge"])
def test_a_pair_of_even_confidence_is_content_with_the_reference(loss):
    chosen = torch.zeros(1, requires_grad=True)
    even = torch.tensor([0.5])
    losses.dpo(
        chosen, torch.zeros(1), *LENGTHS, loss=loss, label_smoothing=0.1, confidence=even
    ).sum().backward()
    assert chosen.grad is not None
    assert chosen.grad.item() == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize("away", [-30.0, 30.0])
@pytest.mark.parametrize("loss", ["sigmoid", "ipo", "robust", "hinge"])
def test_a_pair_of_even_confidence_pulls_back_to_the_reference_from_either_side(loss, away):
    chosen = torch.full((1,), away, requires_grad=True)
    even = torch.tensor([0.5])
    losses.dpo(
        chosen, torch.zeros(1), *LENGTHS, loss=loss, label_smoothing=0.1, confidence=even
    ).sum().backward()
    assert chosen.grad is not None
    assert chosen.grad.item() * away > 0  # downhill is towards 0
