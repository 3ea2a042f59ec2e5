"""The Triton kernels of the fused draw against their twin."""

from __future__ import annotations

import pytest
import torch

from motet_kernels.contrast import ContrastRows
from motet_kernels.contrast_sample import NO_TOKEN, Sampling
from motet_kernels.contrast_sample_torch import contrast_sample_torch
from motet_kernels.contrast_sample_triton import contrast_sample_triton

from ..batches import edits_of, rows_of, sampling_of


def equal(logits, sampling, amateur=None, rows=None, edits=None):
    copies = [None if x is None else x.clone() for x in (logits, amateur)]
    expected = contrast_sample_torch(copies[0], sampling, copies[1], rows, edits)
    drawn = contrast_sample_triton(logits, sampling, amateur, rows, edits)
    assert drawn.token.tolist() == expected.token.tolist()
    torch.testing.assert_close(drawn.logprob, expected.logprob, rtol=1e-5, atol=2e-5, equal_nan=True)
    return drawn


@pytest.mark.parametrize("scale", [0.0, 1.0, 6.0])
@pytest.mark.parametrize("vocab", [2, 31, 1024, 3001])
def test_plain_rows_agree_with_the_twin(vocab, scale):
    generator = torch.Generator().manual_seed(vocab)
    equal(torch.randn(24, vocab, generator=generator) * scale, sampling_of(24))


@pytest.mark.parametrize("scale", [1.0, 6.0])
@pytest.mark.parametrize("vocab", [2, 31, 1025, 3001])
def test_contrast_rows_among_plain_ones_agree_with_the_twin(vocab, scale):
    generator = torch.Generator().manual_seed(vocab)
    logits, amateur = (torch.randn(24, vocab, generator=generator) * scale for _ in range(2))
    index = [row for row in range(24) if row % 3]
    equal(logits, sampling_of(24), amateur[: len(index)], rows_of(index))


@pytest.mark.parametrize("width", [900, 2500])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_and_other_paddings(width, dtype):
    generator = torch.Generator().manual_seed(width)
    logits = torch.randn(12, 2100, generator=generator).to(dtype) * 4
    amateur = torch.randn(12, width, generator=generator).to(dtype) * 4
    equal(logits, sampling_of(12), amateur, rows_of(list(range(12))))


def test_every_row_asks_without_a_map():
    generator = torch.Generator().manual_seed(5)
    logits, amateur = (torch.randn(12, 1500, generator=generator) * 4 for _ in range(2))
    mapped = rows_of(list(range(12)))
    rows = ContrastRows(mapped.weight, mapped.pull, mapped.floor)
    equal(logits, sampling_of(12), amateur, rows)


@pytest.mark.parametrize("contrasted", [False, True])
def test_edits_agree_with_the_twin(contrasted):
    generator = torch.Generator().manual_seed(6)
    logits, amateur = (torch.randn(18, 1300, generator=generator) * 4 for _ in range(2))
    logits[:, 700:720] = -torch.inf
    edits = edits_of(18, 1300, generator)
    index = [row for row in range(18) if row % 2]
    voices = (amateur[: len(index)], rows_of(index)) if contrasted else (None, None)
    equal(logits, sampling_of(18), *voices, edits)


def test_ties_masks_and_faults():
    logits = torch.zeros(12, 2050)
    logits[1] = -torch.inf
    logits[2, 5] = torch.nan
    logits[3, 2049] = torch.inf
    logits[4, ::2] = -torch.inf
    logits[5] = torch.nan
    drawn = equal(logits.clone(), sampling_of(12))
    assert (drawn.token == NO_TOKEN).tolist() == [row in {1, 5} for row in range(12)]
    equal(logits, sampling_of(12), torch.zeros(12, 2050), rows_of(list(range(12))))


def test_more_survivors_than_a_row_keeps_in_registers():
    generator = torch.Generator().manual_seed(8)
    logits = torch.rand(4, 9000, generator=generator) * 0.1
    sampling = Sampling(
        temperature=torch.ones(4),
        min_p=torch.zeros(4),
        top_k=torch.tensor([5000, 0, 8000, 3], dtype=torch.int32),
        top_p=torch.tensor([1.0, 0.8, 0.6, 0.9]),
        seed=torch.arange(4),
        position=torch.arange(4),
    )
    equal(logits, sampling)


def test_rows_beyond_two_to_the_31_logits():
    """Only the rows' own pages are ever touched, so the 6 GB between them cost nothing."""
    generator = torch.Generator().manual_seed(9)
    apart = torch.empty(3 * 2**30, dtype=torch.bfloat16).view(3, 2**30)[:, :1500]
    apart.copy_(torch.randn(3, 1500, generator=generator) * 4)
    equal(apart, sampling_of(3), torch.randn(2, 1500, generator=generator), rows_of([2, 0]))
