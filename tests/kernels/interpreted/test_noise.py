"""Kernels draw the same noise as their twins."""

from __future__ import annotations

import pytest
import torch
import triton
import triton.language as tl

from motet_kernels.noise import gumbel, random_bits
from motet_kernels.noise import noise_keys as twin_keys
from motet_kernels.noise_triton import gumbel_noise, mix, noise_keys


@triton.jit
def draw(seed, position, bits_out, noise_out, TOKENS: tl.constexpr):
    first, second = noise_keys(tl.load(seed), tl.load(position))
    tokens = tl.arange(0, TOKENS)
    bits = mix(mix(tokens.to(tl.uint32) + first) ^ second)
    tl.store(bits_out + tokens, bits.to(tl.int32, bitcast=True))
    tl.store(noise_out + tokens, gumbel_noise(first, second, tokens))


@pytest.mark.parametrize(("seed", "position"), [(0, 0), (-5, 1), (2**62 + 12345, 2**31 + 7), (-(2**63), 99)])
def test_the_same_bits_and_the_same_noise(seed, position):
    keys = torch.tensor([seed]), torch.tensor([position])
    bits, noise = torch.empty(2**17, dtype=torch.int32), torch.empty(2**17)
    draw[(1,)](*keys, bits, noise, TOKENS=2**17)
    expected = random_bits(twin_keys(*keys), torch.arange(2**17, dtype=torch.int32))
    assert torch.equal(bits, expected)
    torch.testing.assert_close(noise, gumbel(expected), rtol=1e-6, atol=4e-6)
