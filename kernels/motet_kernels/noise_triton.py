"""``noise.py`` for Triton kernels: the same bits, and the same noise but for a logarithm's rounding."""

from __future__ import annotations

import triton
import triton.language as tl

from motet_kernels import noise
from motet_kernels.build import Build

_M0, _M1, _M2 = (tl.constexpr(word) for word in noise.MULTIPLIERS)
_S0, _S1, _S2, _S3 = (tl.constexpr(shift) for shift in noise.SHIFTS)
_GOLDEN = tl.constexpr(noise.GOLDEN)
_SERIES_BELOW = tl.constexpr(noise.SERIES_BELOW)
_LARGEST = tl.constexpr(noise.LARGEST)


@triton.jit
def mix(x):
    """``noise.mix`` on uint32."""
    x = (x ^ (x >> _S0)) * tl.full([], _M0, tl.uint32)
    x = (x ^ (x >> _S1)) * tl.full([], _M1, tl.uint32)
    x = (x ^ (x >> _S2)) * tl.full([], _M2, tl.uint32)
    return x ^ (x >> _S3)


@triton.jit
def noise_keys(seed, position):
    """``noise.noise_keys`` of one row: two uint32 from two int64."""
    low = seed.to(tl.uint32)
    high = (seed >> 32).to(tl.uint32)
    first = mix(mix(mix(low) + high) + position.to(tl.uint32))
    second = mix(mix(mix(first + tl.full([], _GOLDEN, tl.uint32)) + low) + high)
    return first, second


@triton.jit
def gumbel_noise(first, second, tokens):
    """``noise.gumbel(noise.random_bits(...))`` for token ids, int32."""
    bits = mix(mix(tokens.to(tl.uint32) + first) ^ second)
    u = tl.minimum((bits.to(tl.float32) + 0.5) * (1.0 / 4294967296.0), _LARGEST)
    series = u * (1 + u * (1 / 2 + u * (1 / 3 + u * (1 / 4 + u * (1 / 5)))))
    exponential = tl.where(u < _SERIES_BELOW, series, -tl.log(1.0 - u))
    return -tl.log(exponential)


#: Parts of other kernels only.
BUILDS: tuple[Build, ...] = ()
