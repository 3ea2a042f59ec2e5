"""The kernel's maths against the papers' formula in float64."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from motet_decoding.contrast import Contrast
from motet_decoding.reference import contrast_scores
from motet_kernels.contrast import ContrastRows, contrast


def kernel(logits, amateur, asked, *, rows=None, amateur_index=None, unedited=None, out=None):
    """Calls the kernel for one Contrast a row."""
    settings = ContrastRows.of(
        torch.tensor([c.strength for c in asked]),
        torch.tensor([c.plausibility for c in asked]),
        torch.tensor([c.form == "extrapolate" for c in asked]),
        torch.tensor([c.amateur_temperature for c in asked]),
        rows,
    )
    return contrast(logits, amateur, settings, amateur_index=amateur_index, unedited=unedited, out=out)


ASKED = [
    Contrast(strength=0.5, plausibility=0.1),
    Contrast(strength=1.0, plausibility=0.0, form="ratio"),
    Contrast(strength=2.5, plausibility=0.3, amateur_temperature=0.5),
    Contrast(strength=0.0, plausibility=0.05, form="ratio", amateur_temperature=2.0),
]


def distribution(scores):
    return scores.double().softmax(-1)


@settings(max_examples=60, deadline=None)
@given(
    vocab=st.sampled_from([2, 3, 31, 512, 1023, 32_000]),
    batch=st.integers(1, 9),
    scale=st.sampled_from([0.1, 3.0, 30.0]),
    seed=st.integers(0, 2**31),
)
def test_agrees_with_the_papers_formula(vocab, batch, scale, seed):
    generator = torch.Generator().manual_seed(seed)
    expert = torch.randn(batch, vocab, generator=generator) * scale
    amateur = torch.randn(batch, vocab, generator=generator) * scale
    asked = [ASKED[row % len(ASKED)] for row in range(batch)]
    scores = kernel(expert.clone(), amateur, asked)
    for row, asks in enumerate(asked):
        exact = contrast_scores(expert[row].double(), amateur[row].double(), asks)
        on_the_edge = (expert[row] - expert[row].max() - torch.tensor(asks.plausibility).log()).abs() < 1e-5
        assert torch.equal(scores[row].isinf() | on_the_edge, exact.isinf() | on_the_edge)
        if not on_the_edge.any():
            torch.testing.assert_close(distribution(scores[row]), distribution(exact), atol=2e-5, rtol=1e-3)


def test_only_the_asking_rows_change_and_they_change_in_place():
    logits, amateur = torch.randn(6, 50), torch.randn(2, 50)
    before = logits.clone()
    rows = torch.tensor([4, 1])
    result = kernel(logits, amateur, ASKED[:2], rows=rows)
    assert result is logits
    assert torch.equal(logits[[0, 2, 3, 5]], before[[0, 2, 3, 5]])
    alone = kernel(before[rows].clone(), amateur, ASKED[:2])
    assert torch.equal(logits[rows], alone)


def test_scores_can_go_elsewhere_and_need_not_be_rounded_to_the_logits_type():
    logits, amateur = torch.randn(6, 50).bfloat16(), torch.randn(2, 50).bfloat16()
    before, out, rows = logits.clone(), torch.empty(2, 50), torch.tensor([4, 1])
    assert kernel(logits, amateur, ASKED[:2], rows=rows, out=out) is out
    assert torch.equal(logits, before)
    assert torch.equal(out, kernel(before[rows].float(), amateur, ASKED[:2]))
    with pytest.raises(ValueError, match="3 out rows for 2 asking rows"):
        kernel(logits, amateur, ASKED[:2], rows=rows, out=torch.empty(3, 50))


def test_an_amateurs_rows_may_be_picked_from_the_batch_itself():
    logits = torch.randn(6, 50)
    before, rows, followers = logits.clone(), torch.tensor([4, 1]), torch.tensor([0, 5])
    assert kernel(logits, logits, ASKED[:2], rows=rows, amateur_index=followers) is logits
    assert torch.equal(logits[[0, 2, 3, 5]], before[[0, 2, 3, 5]])
    assert torch.equal(logits[rows], kernel(before[rows].clone(), before[followers], ASKED[:2]))
    with pytest.raises(ValueError, match="3 amateur rows for 2 asking rows"):
        kernel(logits, logits, ASKED[:2], rows=rows, amateur_index=torch.tensor([0, 5, 5]))


def test_one_voice_may_be_heard_by_several_rows():
    logits, amateur = torch.randn(3, 50), torch.randn(2, 50)
    index = torch.tensor([1, 1, 0])
    exact = kernel(logits.clone(), amateur[index], ASKED[:3])
    assert torch.equal(kernel(logits, amateur, ASKED[:3], amateur_index=index), exact)


@pytest.mark.parametrize("weight", [-7.0, 0.0, 0.5])
@pytest.mark.parametrize("edited", [False, True])
def test_an_experts_weight_may_be_anything(weight, edited):
    """Voices of negative weights bring it under 1; what the expert excludes stays so, its -inf times anything."""
    expert, amateur = torch.randn(2, 9), torch.randn(2, 9)
    expert[:, 3] = -torch.inf
    bias = torch.zeros(2, 9)
    bias[:, 5] = 1.5 * edited
    column = torch.full((2,), weight)
    rows = ContrastRows(column, column - 1.0, torch.tensor([-torch.inf, -1.0]))
    exact = weight * expert.double() + bias - (weight - 1.0) * amateur.double()
    head = (expert + bias) >= (expert + bias).amax(1, keepdim=True) + rows.floor[:, None]
    exact[~head | expert.isneginf()] = -torch.inf
    scores = contrast(expert + bias, amateur, rows, unedited=expert.clone() if edited else None)
    torch.testing.assert_close(scores.double(), exact, atol=1e-5, rtol=1e-5)


def test_neutral_settings_leave_every_bit():
    logits = torch.randn(3, 997) * 20
    before = logits.clone()
    neutral = Contrast(strength=0.0, plausibility=0.0)
    assert torch.equal(kernel(logits, torch.randn(3, 997), [neutral] * 3), before)


def test_masks_stay_and_the_head_is_measured_among_what_they_leave():
    expert = torch.tensor([[9.0, 5.0, 4.9, -2.0]])
    expert[0, 0] = -torch.inf  # a grammar forbids the favourite
    scores = kernel(expert, torch.tensor([[0.0, 1.0, 0.0, 0.0]]), [Contrast(strength=1.0, plausibility=0.5)])
    # Token 1 leads the head that is left, and the amateur prefers it; token 3 is implausible beside it.
    assert scores.isinf().tolist() == [[True, False, False, True]]
    assert scores.argmax() == 2


def test_a_wholly_masked_row_stays_masked_and_alone():
    logits = torch.randn(2, 8)
    logits[0] = -torch.inf
    scores = kernel(logits, torch.randn(2, 8), [ASKED[0]] * 2)
    assert scores[0].eq(-torch.inf).all()
    assert scores[1].isfinite().any()


def test_a_nan_is_contained():
    logits = torch.randn(2, 8)
    logits[0, 3] = torch.nan
    clean = kernel(logits[1:].clone(), torch.zeros(1, 8), [ASKED[0]])
    scores = kernel(logits, torch.zeros(2, 8), [ASKED[0]] * 2)
    assert torch.equal(scores[1:], clean)
    assert scores[0, 3] == -torch.inf
    assert scores[0].isfinite().any()


def test_what_the_amateur_finds_impossible_wins_without_overflow():
    amateur = torch.tensor([[0.0, -torch.inf, 0.0]])
    for strength in (0.0, 10.0):
        scores = kernel(
            torch.tensor([[2.0, 1.9, -9.0]]), amateur, [Contrast(strength=strength, plausibility=0.1)]
        )
        assert not scores.isnan().any()
        assert scores.argmax() == (0 if strength == 0.0 else 1)


@pytest.mark.parametrize("width", [5, 9])
def test_differently_padded_vocabularies(width):
    expert, amateur = torch.zeros(1, 7), torch.zeros(1, width)
    scores = kernel(expert, amateur, [Contrast(strength=1.0, plausibility=0.0)])
    assert scores.shape == (1, 7)
    assert scores.isinf()[0].tolist() == [False] * min(width, 7) + [True] * (7 - min(width, 7))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_logits_are_combined_in_float32(dtype):
    expert, amateur = torch.randn(4, 300, dtype=dtype), torch.randn(4, 300, dtype=dtype)
    scores = kernel(expert.clone(), amateur, ASKED)
    exact = kernel(expert.float(), amateur.float(), ASKED)
    assert scores.dtype == dtype
    assert torch.equal(scores, exact.to(dtype))


def test_additive_edits_count_once():
    expert, amateur = torch.randn(3, 40), torch.randn(3, 40)
    bias = torch.zeros(3, 40)
    bias[:, 7] = 3.0
    asked = [
        Contrast(strength=s, plausibility=0.0, form=f)
        for s, f in ((2.0, "extrapolate"), (0.5, "ratio"), (1.0, "ratio"))
    ]
    biased = kernel(expert + bias, amateur, asked, unedited=expert)
    torch.testing.assert_close(biased, kernel(expert.clone(), amateur, asked) + bias)


def test_a_bias_can_bring_a_token_into_the_head():
    expert = torch.tensor([[10.0, 0.0]])
    scores = kernel(
        expert + torch.tensor([[0.0, 100.0]]),
        torch.zeros(1, 2),
        [Contrast(strength=1.0, plausibility=0.5)],
        unedited=expert,
    )
    assert scores.argmax() == 1


def test_rows_are_independent_of_their_mates():
    expert, amateur = torch.randn(8, 128), torch.randn(8, 128)
    asked = [ASKED[row % 4] for row in range(8)]
    together = kernel(expert.clone(), amateur, asked)
    for row in range(8):
        assert torch.equal(
            together[row : row + 1],
            kernel(expert[row : row + 1].clone(), amateur[row : row + 1], asked[row : row + 1]),
        )


def test_rows_that_do_not_match_are_refused():
    with pytest.raises(ValueError, match="2 amateur rows for 3 asking rows"):
        kernel(torch.zeros(3, 4), torch.zeros(2, 4), ASKED[:2])
