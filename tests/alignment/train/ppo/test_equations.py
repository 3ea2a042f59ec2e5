"""PPO's equations against values worked out by hand, against loops as the papers write them, and by their laws."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from motet_alignment.train.ppo import equations

NUMBERS = st.floats(-10, 10, allow_nan=False).map(lambda x: round(x, 3))
SHARES = st.floats(0, 1).map(lambda x: round(x, 3))


@st.composite
def answers(draw: st.DrawFn, tables: int) -> tuple[Tensor, list[Tensor]]:
    """A mask of answers of different lengths, and tables that hold numbers behind their ends too."""
    lengths = draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    width = max(lengths) + draw(st.integers(0, 2))
    mask = torch.tensor([[t < length for t in range(width)] for length in lengths])
    cells = st.lists(NUMBERS, min_size=mask.numel(), max_size=mask.numel())
    return mask, [torch.tensor(draw(cells), dtype=torch.float64).view_as(mask) for _ in range(tables)]


def gradient(loss: Tensor, of: Tensor) -> list[float]:
    (found,) = torch.autograd.grad(loss.sum(), of)
    return found.tolist()


# --- sums ------------------------------------------------------------------------------------------------------------


def test_masked_sums_look_at_nothing_else():
    values = torch.tensor([[1.0, 2.0, torch.nan], [6.0, torch.inf, torch.nan]], requires_grad=True)
    mask = torch.tensor([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    assert equations.masked_sum(values, mask).item() == 9
    assert gradient(equations.masked_sum(values, mask), values) == [[1, 1, 0], [1, 0, 0]]
    assert equations.masked_sum(values, torch.zeros(2, 3)).item() == 0


# --- KL --------------------------------------------------------------------------------------------------------------


def test_kl_estimates_by_hand():
    logprobs, reference = torch.tensor([-1.0, -2.0, -0.5]), torch.tensor([-1.5, -1.0, -0.5])
    assert equations.kl_estimate(logprobs, reference).tolist() == [0.5, -1.0, 0.0]
    # exp(-0.5) - 1 + 0.5 and exp(1) - 1 - 1
    expected = [0.1065306597, 0.7182818285, 0.0]
    assert equations.kl_estimate(logprobs, reference, "k3").tolist() == pytest.approx(expected, rel=1e-6)


@settings(deadline=None)
@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=2, max_size=6))
def test_both_estimates_mean_the_kl_and_k3_is_never_negative(logits: list[tuple[float, float]]):
    policy, reference = torch.tensor(logits, dtype=torch.float64).T.log_softmax(-1)
    kl = sum(math.exp(p) * (p - q) for p, q in zip(policy.tolist(), reference.tolist(), strict=True))
    for kind in ("k1", "k3"):
        estimate = equations.kl_estimate(policy, reference, kind)  # of every token that could be drawn
        assert (policy.exp() * estimate).sum().item() == pytest.approx(kl, abs=1e-9)
    assert (equations.kl_estimate(policy, reference, "k3") >= 0).all()


def test_only_k1_as_a_reward_has_the_gradient_of_the_kl():
    logits = torch.tensor([0.3, -1.0, 0.8], dtype=torch.float64, requires_grad=True)
    reference = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64).log()
    logprobs = logits.log_softmax(-1)
    exact = gradient((logprobs.exp() * (logprobs - reference)).sum(), logits)

    def charged(kind: equations.KlEstimate) -> list[float]:
        logprobs = logits.log_softmax(-1)
        cost = equations.kl_estimate(logprobs, reference, kind).detach()
        return gradient((logprobs.exp().detach() * cost * logprobs).sum(), logits)

    assert charged("k1") == pytest.approx(exact, abs=1e-12)
    assert charged("k3") != pytest.approx(exact, abs=1e-2)


# --- rewards and advantages ------------------------------------------------------------------------------------------


def test_token_rewards_by_hand():
    kl = torch.tensor([[0.5, -0.25, 2.0], [1.0, torch.nan, 7.0], [0.5, 0.5, 0.5]])
    mask = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    found = equations.token_rewards(torch.tensor([3.0, -1.0, 9.0]), kl, mask, 0.1)
    assert found.tolist() == [
        pytest.approx([-0.05, 0.025, 2.8]),  # -0.2 + 3
        pytest.approx([-1.1, 0, 0]),
        [0, 0, 0],
    ]


def test_scores_stand_at_the_last_token_wherever_that_is():
    mask = torch.tensor([[0, 1, 1, 0, 1, 0]])
    found = equations.token_rewards(torch.tensor([2.0]), torch.ones(1, 6), mask, 0.5)
    assert found.tolist() == [[0, -0.5, -0.5, 0, 1.5, 0]]


def test_advantages_by_hand():
    # gamma 0.9, lambda 0.5; first row three tokens, second row two.
    rewards = torch.tensor([[0.0, 0.0, 1.0], [-1.0, 2.0, 50.0]])
    values = torch.tensor([[0.5, 0.6, 0.7], [0.2, 0.4, 60.0]])
    mask = torch.tensor([[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]])
    # delta: 0 + 0.54 - 0.5 = 0.04; 0 + 0.63 - 0.6 = 0.03; 1 - 0.7 = 0.3
    # A: 0.3; 0.03 + 0.45 * 0.3 = 0.165; 0.04 + 0.45 * 0.165 = 0.11425
    # delta: -1 + 0.36 - 0.2 = -0.84; 2 - 0.4 = 1.6.  A: 1.6; -0.84 + 0.45 * 1.6 = -0.12
    advantages, returns = equations.generalized_advantages(rewards, values, mask, gamma=0.9, lam=0.5)
    assert advantages.tolist() == [pytest.approx([0.11425, 0.165, 0.3]), pytest.approx([-0.12, 1.6, 0])]
    assert returns.tolist() == [pytest.approx([0.61425, 0.765, 1.0]), pytest.approx([0.08, 2.0, 0])]


@settings(deadline=None)
@given(answers(2), SHARES, SHARES)
def test_advantages_are_the_paper_s_sum(case: tuple[Tensor, list[Tensor]], gamma: float, lam: float):
    mask, (rewards, values) = case
    advantages, returns = equations.generalized_advantages(
        rewards, values, mask.float(), gamma=gamma, lam=lam
    )
    for row in range(len(mask)):
        length = int(mask[row].sum())
        r, v = rewards[row, :length].tolist(), [*values[row, :length].tolist(), 0.0]
        for t in range(length):
            ahead = range(length - t)
            terms = [(gamma * lam) ** k * (r[t + k] + gamma * v[t + k + 1] - v[t + k]) for k in ahead]
            assert advantages[row, t].item() == pytest.approx(sum(terms), abs=1e-9)
            assert returns[row, t].item() == pytest.approx(sum(terms) + v[t], abs=1e-9)
    assert not advantages[~mask].any()
    assert not returns[~mask].any()


@settings(deadline=None)
@given(answers(2), SHARES)
def test_lambda_1_is_the_discounted_return_less_the_value_and_lambda_0_the_td_error(
    case: tuple[Tensor, list[Tensor]], gamma: float
):
    mask, (rewards, values) = case
    whole, returns = equations.generalized_advantages(rewards, values, mask, gamma=gamma, lam=1.0)
    step, _ = equations.generalized_advantages(rewards, values, mask, gamma=gamma, lam=0.0)
    for row in range(len(mask)):
        length = int(mask[row].sum())
        for t in range(length):
            value = values[row, t].item()
            behind = values[row, t + 1].item() if t + 1 < length else 0.0
            discounted = sum(gamma ** (k - t) * rewards[row, k].item() for k in range(t, length))
            assert whole[row, t].item() == pytest.approx(discounted - value, abs=1e-9)
            assert returns[row, t].item() == pytest.approx(discounted, abs=1e-9)
            assert step[row, t].item() == pytest.approx(
                rewards[row, t].item() + gamma * behind - value, abs=1e-9
            )


def test_advantages_step_over_gaps_and_survive_what_stands_outside():
    together = equations.generalized_advantages(
        torch.tensor([[1.0, 2.0]]), torch.tensor([[0.5, 0.1]]), torch.ones(1, 2), gamma=0.9, lam=0.8
    )
    apart = equations.generalized_advantages(
        torch.tensor([[torch.nan, 1.0, torch.nan, 2.0, torch.nan]]),
        torch.tensor([[torch.nan, 0.5, torch.nan, 0.1, torch.nan]]),
        torch.tensor([[0, 1, 0, 1, 0]]),
        gamma=0.9,
        lam=0.8,
    )
    for one, other in zip(together, apart, strict=True):
        assert torch.equal(one[0], other[0, [1, 3]])
        assert other[0, [0, 2, 4]].tolist() == [0, 0, 0]


def test_leave_one_out_by_hand():
    found = equations.leave_one_out(torch.tensor([[1.0, 2.0, 6.0], [0.5, 0.5, 0.5]]))
    # 1 - (2 + 6) / 2, 2 - (1 + 6) / 2, 6 - (1 + 2) / 2
    assert found.tolist() == [pytest.approx([-3, -1.5, 4.5]), pytest.approx([0, 0, 0])]
    with pytest.raises(ValueError, match="two answers to a prompt or more, not 1"):
        equations.leave_one_out(torch.ones(4, 1))


@settings(deadline=None)
@given(st.integers(2, 6).flatmap(lambda k: st.lists(NUMBERS, min_size=k, max_size=k)), NUMBERS)
def test_leave_one_out_sums_to_zero_and_knows_no_offset(rewards: list[float], offset: float):
    group = torch.tensor([rewards], dtype=torch.float64)
    found = equations.leave_one_out(group)
    assert found.sum().item() == pytest.approx(0, abs=1e-9)
    assert torch.allclose(equations.leave_one_out(group + offset), found)


# --- whitening -------------------------------------------------------------------------------------------------------


def test_whitening_by_hand():
    values = torch.tensor([[1.0, 2.0, torch.nan], [6.0, torch.nan, torch.nan]])
    mask = torch.tensor([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    # mean 3, variance (4 + 1 + 9) / 2 = 7
    assert [one.item() for one in equations.moments(values, mask)] == [3, 9, 41]
    s = 2.6457513111
    shifted, scaled = equations.whiten(values, mask), equations.whiten(values, mask, shift=False)
    assert shifted.tolist() == [pytest.approx([-2 / s, -1 / s, 0]), pytest.approx([3 / s, 0, 0])]
    assert scaled.tolist() == [pytest.approx([1 / s, 2 / s, 0]), pytest.approx([6 / s, 0, 0])]


@pytest.mark.parametrize("values", [[0.3, 0.3, 0.3], [0.1 + 0.2, 0.3, 0.3], [7.0], [1e-9, -1e-9, 0.0]])
def test_whitening_makes_nothing_of_noise(values: list[float]):
    table = torch.tensor([values], dtype=torch.float64)
    everywhere = torch.ones_like(table)
    assert torch.equal(equations.whiten(table, everywhere, shift=False), table)
    assert equations.whiten(table, everywhere).tolist()[0] == pytest.approx([0] * len(values), abs=1e-8)


@settings(deadline=None)
@given(answers(1), st.data())
def test_processes_whiten_their_shares_as_the_whole(case: tuple[Tensor, list[Tensor]], data: st.DataObject):
    mask, (values,) = case
    cut = data.draw(st.integers(0, len(mask)))
    parts = [(values[:cut], mask[:cut]), (values[cut:], mask[cut:])]
    count, total, squares = (
        sum(several) for several in zip(*(equations.moments(*one) for one in parts), strict=True)
    )
    for shift in (True, False):
        apart = [equations.whiten(*one, shift=shift, moments=(count, total, squares)) for one in parts]
        whole = equations.whiten(values, mask, shift=shift)
        assert torch.allclose(torch.cat(apart), whole, atol=1e-9)
    inside = values[mask]
    if len(inside) > 1 and inside.std() > 1e-3:
        white = equations.whiten(values, mask)[mask]
        assert white.mean().item() == pytest.approx(0, abs=1e-9)
        assert white.var().item() == pytest.approx(1)


def test_whitening_keeps_its_precision_far_from_zero():
    values = 1e4 + torch.tensor(
        [[0.0, 0.25, 0.5, 0.75]]
    )  # exact in float32; sums of squares there would not be
    found = equations.whiten(values, torch.ones_like(values))
    assert found.tolist()[0] == pytest.approx([-1.161895, -0.387298, 0.387298, 1.161895], rel=1e-4)
    assert found.dtype == torch.float32


# --- losses ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "clipped"),
    [
        (1.0, 2.0, -2.0, False),
        (1.1, 2.0, -2.2, False),
        (1.5, 2.0, -2.4, True),  # as good as it gets: 1.2 * 2
        (0.5, 2.0, -1.0, False),  # a good token that became rare is pulled back
        (0.9, -2.0, 1.8, False),
        (0.5, -2.0, 1.6, True),  # 0.8 * 2
        (1.5, -2.0, 3.0, False),  # a bad token that became frequent is pulled back
        (1.5, 0.0, 0.0, False),
    ],
)
def test_the_clipped_policy_loss_and_where_it_has_a_gradient(
    ratio: float, advantage: float, loss: float, clipped: bool
):
    old = torch.tensor([-1.3], dtype=torch.float64)
    logprobs = (old + math.log(ratio)).requires_grad_()
    found, was = equations.clipped_policy_loss(
        logprobs, old, torch.tensor([advantage], dtype=torch.float64), clip=0.2
    )
    assert found.item() == pytest.approx(loss)
    assert was.tolist() == [clipped]
    # d(ratio) / d(log-probability) = ratio
    assert gradient(found, logprobs) == pytest.approx([0 if clipped else -advantage * ratio])


def test_at_the_first_step_the_clipped_gradient_is_reinforce_s():
    logprobs = torch.tensor([-0.2, -3.0, -1.0], requires_grad=True)
    advantages = torch.tensor([1.5, -2.0, 0.0])
    ppo, _ = equations.clipped_policy_loss(logprobs, logprobs.detach(), advantages, clip=0.2)
    reinforce = equations.reinforce_loss(logprobs, advantages)
    assert reinforce.tolist() == pytest.approx([0.3, -6.0, 0.0])  # -1.5 * -0.2, 2 * -3, 0
    assert gradient(ppo, logprobs) == gradient(reinforce, logprobs) == [-1.5, 2.0, 0.0]


def test_reinforce_takes_advantages_as_constants():
    advantages = torch.tensor([2.0], requires_grad=True)
    logprobs = torch.tensor([-1.0], requires_grad=True)
    equations.reinforce_loss(logprobs, advantages).sum().backward()
    assert advantages.grad is None
    assert logprobs.grad is not None


@pytest.mark.parametrize(
    ("value", "returned", "clip", "loss", "slope", "clipped"),
    [
        (1.1, 2.0, 0.2, 0.405, -0.9, False),  # 0.9^2 / 2
        (1.5, 2.0, 0.2, 0.32, 0.0, True),  # taken as 1.2: 0.8^2 / 2, although 0.5^2 / 2 is there
        (1.5, 1.0, 0.2, 0.125, 0.5, False),  # went the wrong way: pulled back
        (0.5, 1.0, 0.2, 0.125, -0.5, False),
        (0.5, 0.0, 0.2, 0.32, 0.0, True),  # taken as 0.8
        (1.5, 2.0, None, 0.125, -0.5, False),
    ],
)
def test_the_clipped_value_loss(
    value: float, returned: float, clip: float | None, loss: float, slope: float, clipped: bool
):
    values = torch.tensor([value], dtype=torch.float64, requires_grad=True)
    old, returns = torch.ones(1, dtype=torch.float64), torch.tensor([returned], dtype=torch.float64)
    found, was = equations.clipped_value_loss(values, old, returns, clip=clip)
    assert found.item() == pytest.approx(loss)
    assert was.tolist() == [clipped]
    assert gradient(found, values) == pytest.approx([slope])


def test_importance_weights_by_hand():
    logprobs = torch.tensor([-1.0, -1.0, -1.0], requires_grad=True)
    sampled = torch.tensor([-1.0, -1.0 - math.log(1.5), -3.0])
    weights = equations.importance_weights(logprobs, sampled, cap=2.0)
    assert weights.tolist() == pytest.approx([1, 1.5, 2])  # e^2 is cut off at 2
    assert not weights.requires_grad


# --- entropy ---------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(NUMBERS, min_size=2, max_size=6), st.sampled_from([0.5, 1.0, 1.7]))
def test_entropy_is_torch_s(logits: list[float], temperature: float):
    ours = torch.tensor([logits, logits[::-1]], dtype=torch.float64, requires_grad=True)
    theirs = ours.detach().clone().requires_grad_()
    found = equations.entropy(ours, temperature)
    expected = torch.distributions.Categorical(logits=theirs / temperature).entropy()
    assert found.shape == (2,)
    assert torch.allclose(found, expected)
    for one, other in zip(gradient(found, ours), gradient(expected, theirs), strict=True):
        assert one == pytest.approx(other, abs=1e-9)


def test_entropy_by_hand_where_tokens_are_ruled_out():
    logits = torch.tensor([[0.0, -torch.inf, 0.0], [0.0, -torch.inf, -torch.inf]], requires_grad=True)
    found = equations.entropy(logits, 0.7)
    assert found.tolist() == pytest.approx([0.6931471806, 0.0])
    assert gradient(found, logits) == [pytest.approx([0, 0, 0], abs=1e-7), [0, 0, 0]]
    # p = 1/4, 3/4 at temperature 1: H = log 4 - 3/4 log 3
    quarter = torch.tensor([0.0, math.log(3)], dtype=torch.bfloat16)
    assert equations.entropy(quarter, 1.0).dtype == torch.float32
    assert equations.entropy(quarter, 1.0).item() == pytest.approx(0.5623351446, abs=2e-3)
    assert equations.entropy(quarter.double(), 0.5).item() < 0.4  # colder, surer: p = 1/10, 9/10 has 0.325


# --- figures and the controller --------------------------------------------------------------------------------------


def test_an_updates_kl_is_that_of_the_policy_that_answered():
    old = torch.tensor([0.7, 0.3], dtype=torch.float64).log()
    new = torch.tensor([0.4, 0.6], dtype=torch.float64).log()
    drawn = [0] * 7 + [1] * 3  # ten tokens as the old policy draws them
    mask = torch.ones(2, 6).index_fill(1, torch.tensor([5]), 0)
    tables = [torch.full((2, 6), torch.nan, dtype=torch.float64) for _ in range(2)]
    for table, policy in zip(tables, (new, old), strict=True):
        table[mask.bool()] = policy[drawn]
    moved = equations.kl_estimate(tables[1], tables[0], "k3")
    found = equations.masked_sum(moved, mask) / mask.sum()
    # 0.7 log(7 / 4) + 0.3 log(1 / 2)
    assert found.item() == pytest.approx(0.1837868973, rel=1e-9)


def test_explained_variance_by_hand():
    returns = torch.tensor([[1.0, 2.0, 3.0], [6.0, 99.0, 99.0]])
    mask = torch.tensor([[1, 1, 1], [1, 0, 0]])
    # Var R = (4 + 1 + 0 + 9) / 4 = 3.5; R - V = 0, 1, 1, 2: Var = (1 + 0 + 0 + 1) / 4 = 0.5
    values = torch.tensor([[1.0, 1.0, 2.0], [4.0, 0.0, 0.0]])
    assert equations.explained_variance(values, returns, mask) == pytest.approx(6 / 7)
    assert equations.explained_variance(returns + 5, returns, mask) == pytest.approx(1)
    assert equations.explained_variance(torch.zeros(2, 3), returns, mask) == pytest.approx(0)
    assert equations.explained_variance(-returns, returns, mask) == pytest.approx(-3)
    assert equations.explained_variance(values, torch.ones(2, 3), mask) == 0
    assert equations.explained_variance(values, returns, torch.zeros(2, 3)) == 0


def test_the_controller_by_hand():
    start = equations.KlController(coefficient=0.1, target=6.0, horizon=1000)
    assert start.updated(6.6, 100).coefficient == pytest.approx(0.101)  # 0.1 * (1 + 0.1 * 0.1)
    assert start.updated(60.0, 100).coefficient == pytest.approx(0.102)  # the error counts 0.2 at most
    assert start.updated(-1.0, 100).coefficient == pytest.approx(0.098)
    assert start.updated(6.0, 100) == start
    assert start.updated(60.0, 10**6).coefficient == pytest.approx(0.12)
    assert start.updated(0.0, 10**6).coefficient == pytest.approx(0.08)  # never at or below 0
    fixed = equations.KlController(coefficient=0.1)
    assert fixed.updated(1000.0, 1000) == fixed


@settings(deadline=None, max_examples=20)
@given(st.floats(0.01, 1.0), st.floats(0.5, 20.0))
def test_the_controller_reaches_its_target(coefficient: float, target: float):
    # An optimal policy's KL falls as its price rises; here as the square of 1 / price, as where the policy is near.
    control = equations.KlController(coefficient, target, horizon=500)
    for _ in range(500):
        control = control.updated(control.coefficient**-2, 128)
    assert control.coefficient**-2 == pytest.approx(target, rel=0.01)
