"""The Triton kernels of entropy and divergence against their twins."""

from __future__ import annotations

import pytest
import torch

from motet_kernels.divergence import entropy_torch, js_divergence_torch
from motet_kernels.divergence_triton import entropy_triton, js_divergence_triton


def agree(one, other):
    for pair in ((one, other), (other, one)):
        torch.testing.assert_close(
            js_divergence_triton(*pair), js_divergence_torch(*pair), atol=2e-7, rtol=1e-4
        )
    torch.testing.assert_close(entropy_triton(one), entropy_torch(one), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
@pytest.mark.parametrize("vocab", [1, 2, 31, 4095, 4096, 4097, 9000])
def test_agrees_with_the_twin(vocab, scale):
    generator = torch.Generator().manual_seed(vocab)
    one, other = (torch.randn(4, vocab, generator=generator) * scale for _ in range(2))
    agree(one, other)
    agree(one, one + other * 0.01)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_any_type_and_padding_and_strided_rows(dtype):
    generator = torch.Generator().manual_seed(1)
    one = torch.randn(5, 6000, generator=generator)[:, :5000]
    agree(one, torch.randn(5, 4500, generator=generator).to(dtype))
    agree(one.to(dtype), torch.randn(5, 5500, generator=generator).to(dtype))


def test_masks_faults_and_agreement():
    one = torch.randn(8, 5000) * 3
    one[0] = -torch.inf
    one[1, :4990] = -torch.inf
    one[2, 4500] = torch.nan
    one[3] = torch.nan
    one[4, ::2] = -torch.inf
    one[5, 10] = torch.inf
    other = torch.randn(8, 5000)
    other[6] = -torch.inf
    agree(one, other)
    same = one[7:]
    assert torch.equal(js_divergence_triton(same, same.clone()), torch.zeros(1))


def test_a_vocabulary_that_is_not_contiguous_is_refused():
    across = torch.zeros(4, 8).t()
    with pytest.raises(ValueError, match="contiguous"):
        entropy_triton(across)
    with pytest.raises(ValueError, match="contiguous"):
        js_divergence_triton(torch.zeros(8, 4), across)


def test_no_rows():
    assert entropy_triton(torch.zeros(0, 8)).shape == (0,)
    assert js_divergence_triton(torch.zeros(0, 8), torch.zeros(0, 8)).shape == (0,)
