"""Noise that depends on nothing but a request's seed, the token's position and the token itself.

A counter-based generator: 32 random bits are an integer hash of (seed, position, token id). So a draw can be repeated
after a preemption, in another batch or on another device, and no row of a batch moves another row's noise.
``noise_triton.py`` holds the same for kernels: the same bits, and the same noise but for a logarithm's rounding.
"""

from __future__ import annotations

import torch

_WORD = 2**32
#: Multipliers and shifts of a 32-bit bijective mixer with low bias (C. Wellons, "Hash function prospector").
MULTIPLIERS = (0xED5AD4BB, 0xAC4C1B51, 0x31848BAB)
SHIFTS = (17, 11, 15, 14)
GOLDEN = 0x9E3779B9
#: Below this, a kernel sums -log(1 - u) as a series, having no log1p: 1 - u would round u's low bits away, and with
#: them the rarest draws.
SERIES_BELOW = 2.0**-6
#: The largest float32 below 1.
LARGEST = 1.0 - 2.0**-24


def _signed(word: int) -> int:
    """The int32 with the bits of an unsigned word."""
    return word - _WORD if word >= _WORD // 2 else word


def _shift(x: torch.Tensor, bits: int) -> torch.Tensor:
    """A logical right shift of int32, as a new tensor."""
    return (x >> bits).bitwise_and_((1 << (32 - bits)) - 1)


def mix(x: torch.Tensor) -> torch.Tensor:
    """A bijection of 32-bit words in which every bit of the result depends on every bit of ``x`` (int32)."""
    for multiplier, shift in zip(MULTIPLIERS, SHIFTS, strict=False):
        x = _shift(x, shift).bitwise_xor_(x).mul_(_signed(multiplier))
    return _shift(x, SHIFTS[-1]).bitwise_xor_(x)


def noise_keys(seed: torch.Tensor, position: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Two words a row, int32 [rows], from the 64 bits of ``seed`` and the low 32 of ``position`` (int64 [rows])."""
    low, high = (_word(part) for part in (seed, seed >> 32))
    first = mix(mix(mix(low) + high) + _word(position))
    second = mix(mix(mix(first + _signed(GOLDEN)) + low) + high)
    return first, second


def _word(x: torch.Tensor) -> torch.Tensor:
    """The low 32 bits of int64, as int32."""
    low = x & (_WORD - 1)
    return torch.where(low >= _WORD // 2, low - _WORD, low).to(torch.int32)


def random_bits(keys: tuple[torch.Tensor, torch.Tensor], tokens: torch.Tensor) -> torch.Tensor:
    """32 random bits, as int32, for each token id (int32; broadcast against the keys)."""
    first, second = keys
    return mix(mix(tokens + first) ^ second)


def gumbel(bits: torch.Tensor) -> torch.Tensor:
    """Standard Gumbel noise, float32, from 32 random bits (int32): ``-log(-log(1 - u))``, ``u = (bits + 1/2) / 2^32``.

    ``u`` is never 0 or 1, so the noise is finite (from -2.82 to 22.88): infinite noise could raise a masked token.
    The large values, which decide draws, come from small ``u``, where float32 keeps all 32 bits.
    """
    u = bits.view(torch.uint32).float().add_(0.5).mul_(1.0 / _WORD).clamp_(max=LARGEST)
    return u.neg_().log1p_().neg_().log_().neg_()
