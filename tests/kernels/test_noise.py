"""The noise behind every draw: uniform, independent, finite."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import chisquare, gumbel_r, kstest, pearsonr

from motet_kernels.noise import gumbel, mix, noise_keys, random_bits

TOKENS = torch.arange(200_000, dtype=torch.int32)


def bits(seed, position, tokens=TOKENS):
    return random_bits(noise_keys(torch.tensor([seed]), torch.tensor([position])), tokens)


def test_the_mixer_is_a_bijection():
    words = torch.arange(2**22, dtype=torch.int32) * 1021
    assert len(torch.unique(mix(words))) == len(words)


@pytest.mark.parametrize(("seed", "position"), [(0, 0), (1, 0), (-1, 5), (2**63 - 1, 10**6), (-(2**63), 3)])
def test_the_noise_is_gumbels(seed, position):
    noise = gumbel(bits(seed, position))
    assert kstest(noise.double().numpy(), gumbel_r.cdf).pvalue > 1e-4


@pytest.mark.parametrize("shift", range(0, 32, 4))
def test_every_bit_is_fair_and_neighbours_share_nothing(shift):
    for other in ((7, 12), (8, 11), (7 + 2**32, 11), (7, 11 + 2**20)):
        first, second = (((bits(*key) >> shift) & 15).numpy() for key in ((7, 11), other))
        assert chisquare(np.bincount(first, minlength=16)).pvalue > 1e-5
        assert chisquare(np.bincount(first ^ second, minlength=16)).pvalue > 1e-5
        assert abs(pearsonr(first, second).statistic) < 0.012


def test_both_ends_are_finite_and_the_rare_end_keeps_all_bits():
    ends = gumbel(torch.tensor([0, 1, 2, -1, -2, 2**31 - 1, -(2**31)], dtype=torch.int32))
    assert ends.isfinite().all()
    u = (np.array([0, 1, 2]) + 0.5) / 2**32
    np.testing.assert_allclose(ends[:3].double(), -np.log(-np.log1p(-u)), rtol=1e-6)
    assert ends[3] < -2.8


def test_small_words_are_as_exact_as_large_ones():
    words = torch.arange(2**26 - 1000, 2**26 + 1000, dtype=torch.int32)
    u = (words.double() + 0.5) / 2**32
    torch.testing.assert_close(gumbel(words).double(), -(-torch.log1p(-u)).log(), rtol=2e-6, atol=2e-6)
