"""The Triton kernels of the contrast against their twin."""

from __future__ import annotations

import pytest
import torch

from motet_kernels.contrast import ContrastRows, contrast_torch
from motet_kernels.contrast_triton import contrast_triton


def asked(rows, index=None, generator=None):
    """Settings that reach every form and bound."""
    choices = torch.arange(rows)
    return ContrastRows.of(
        torch.tensor([0.0, 0.5, 2.0, 10.0])[choices % 4],
        torch.tensor([0.1, 0.0, 0.5, 1.0, 1e-3])[choices % 5],
        choices % 3 != 0,
        torch.tensor([1.0, 0.5, 20.0])[choices % 3],
        index,
    )


def equal(logits, amateur, rows, unedited=None, amateur_index=None):
    expected = contrast_torch(logits.clone(), amateur, rows, unedited, None, amateur_index)
    scores = contrast_triton(logits, amateur, rows, unedited, None, amateur_index)
    assert scores is logits
    torch.testing.assert_close(scores, expected, rtol=1e-6, atol=1e-5)
    assert torch.equal(scores == -torch.inf, expected == -torch.inf)


@pytest.mark.parametrize("vocab", [1, 2, 31, 1023, 1024, 1025, 5000])
def test_agrees_with_the_twin(vocab):
    generator = torch.Generator().manual_seed(vocab)
    logits, amateur = (torch.randn(6, vocab, generator=generator) * 5 for _ in range(2))
    equal(logits, amateur, asked(6))


@pytest.mark.parametrize("width", [3, 1000, 2000, 2500])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_amateurs_of_any_type_and_padding(width, dtype):
    generator = torch.Generator().manual_seed(width)
    logits = torch.randn(5, 2100, generator=generator) * 3
    equal(logits, torch.randn(5, width, generator=generator).to(dtype), asked(5))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_logits(dtype):
    generator = torch.Generator().manual_seed(0)
    logits, amateur = (torch.randn(8, 1500, generator=generator).to(dtype) for _ in range(2))
    expected = contrast_torch(logits.clone(), amateur, asked(8))
    # One unit in the last place: a fused multiply-add rounds once where the twin rounds twice.
    torch.testing.assert_close(contrast_triton(logits, amateur, asked(8)), expected, rtol=0.01, atol=1e-3)


def test_a_row_map_and_padded_rows_of_a_wider_tensor():
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(7, 3000, generator=generator)[:, :2100]
    amateur = torch.randn(3, 2500, generator=generator)[:, :2090]
    before = logits.clone()
    equal(logits, amateur, asked(3, torch.tensor([6, 0, 3])))
    assert torch.equal(logits[[1, 2, 4, 5]], before[[1, 2, 4, 5]])


def test_edited_logits():
    generator = torch.Generator().manual_seed(2)
    raw, amateur = (torch.randn(4, 2100, generator=generator) for _ in range(2))
    edited = raw.clone()
    edited[:, 7] += 5
    edited[:, 100:1500] = -torch.inf
    raw[0, 3] = edited[0, 3] = torch.inf  # in the ratio form
    equal(edited, amateur, asked(4), unedited=raw)


def test_rows_of_an_amateur_picked_one_by_one():
    generator = torch.Generator().manual_seed(5)
    logits, amateur = (torch.randn(7, 2100, generator=generator) for _ in range(2))
    picked, rows = torch.tensor([6, 0, 6]), torch.tensor([2, 5, 1])
    equal(logits, amateur, asked(3, rows), amateur_index=picked)
    equal(logits[:3], amateur, asked(3), unedited=logits[:3] * 0.5, amateur_index=picked)


def test_the_batchs_own_rows_as_voices():
    generator = torch.Generator().manual_seed(6)
    logits = torch.randn(7, 2100, generator=generator)
    before, rows, followers = logits.clone(), torch.tensor([2, 5, 1]), torch.tensor([3, 0, 6])
    expected = contrast_torch(before.clone(), before, asked(3, rows), amateur_index=followers)
    assert contrast_triton(logits, logits, asked(3, rows), amateur_index=followers) is logits
    torch.testing.assert_close(logits, expected, rtol=1e-6, atol=1e-5)
    assert torch.equal(logits[[0, 3, 4, 6]], before[[0, 3, 4, 6]])


@pytest.mark.parametrize("edited", [False, True])
def test_weights_below_one_and_voices_that_are_added(edited):
    generator = torch.Generator().manual_seed(7)
    logits, amateur = (torch.randn(4, 2100, generator=generator) for _ in range(2))
    raw = logits.clone()
    logits[:, 7] += 5 * edited
    logits[:, 100:1500] = -torch.inf
    weight = torch.tensor([-7.0, 0.0, 0.5, 1.0])
    rows = ContrastRows(weight, weight - 2.0, torch.tensor([-torch.inf, -1.0, -torch.inf, -2.0]))
    equal(logits, amateur, rows, unedited=raw if edited else None)


def test_masked_rows_nan_and_ties():
    logits = torch.zeros(5, 1100)
    logits[0] = -torch.inf
    logits[1, 5] = torch.nan
    logits[2, 1050] = torch.inf
    logits[3, ::2] = -torch.inf
    amateur = torch.zeros(5, 1100)
    amateur[4, :50] = -torch.inf
    amateur[4, 60] = torch.nan
    equal(logits, amateur, asked(5))


@pytest.mark.parametrize("index", [None, torch.tensor([3, 0, 1, 2])])
def test_scores_beside_the_logits(index):
    generator = torch.Generator().manual_seed(3)
    logits, amateur = (torch.randn(4, 2100, generator=generator).bfloat16() for _ in range(2))
    before, out = logits.clone(), torch.empty(4, 2100)
    rows = asked(4, index)
    assert contrast_triton(logits, amateur, rows, out=out) is out
    assert torch.equal(logits, before)
    expected = contrast_torch(logits, amateur, rows, out=torch.empty(4, 2100))
    torch.testing.assert_close(out, expected, rtol=1e-6, atol=1e-5)
    assert torch.equal(logits, before)


def test_rows_beyond_two_to_the_31_logits():
    """Only the rows' own pages are ever touched, so the 6 GB between them cost nothing."""
    generator = torch.Generator().manual_seed(4)
    apart = torch.empty(3 * 2**30, dtype=torch.bfloat16).view(3, 2**30)[:, :1500]
    apart.copy_(torch.randn(3, 1500, generator=generator))
    amateur = torch.randn(3, 1500, generator=generator)
    expected = contrast_torch(apart.clone(), amateur, asked(3))
    torch.testing.assert_close(contrast_triton(apart, amateur, asked(3)), expected, rtol=0.01, atol=1e-3)
