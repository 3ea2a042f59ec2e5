"""Entropy and divergence against their definitions in float64."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from motet_kernels import divergence
from motet_kernels.divergence import entropy, js_divergence


def plain_entropy(logits):
    """In nats, of one row, token by token."""
    p = logits.double().softmax(-1)
    return -sum(x * math.log(x) for x in p.tolist() if x > 0)


def plain_divergence(one, other):
    """In bits, of one row each, token by token."""
    bits = 0.0
    for p, q in zip(*(row.double().softmax(-1).tolist() for row in (one, other)), strict=True):
        bits += sum(x / 2 * math.log2(2 * x / (p + q)) for x in (p, q) if x > 0)
    return bits


def drawn(seed, rows, vocab, scale, masked):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(rows, vocab, generator=generator) * scale
    logits[:, 1:][torch.rand(rows, vocab - 1, generator=generator) < masked] = -torch.inf
    return logits


SHAPES = {
    "rows": st.integers(1, 5),
    "vocab": st.sampled_from([2, 3, 31, 1023, 4097]),
    "scale": st.sampled_from([0.0, 0.1, 3.0, 300.0]),
    "masked": st.sampled_from([0.0, 0.5, 1.0]),
    "seed": st.integers(0, 2**31),
}


@settings(max_examples=40, deadline=None)
@given(**SHAPES)
def test_entropy_is_that_of_the_softmax(rows, vocab, scale, masked, seed):
    logits = drawn(seed, rows, vocab, scale, masked)
    exact = torch.tensor([plain_entropy(row) for row in logits])
    torch.testing.assert_close(entropy(logits), exact, atol=2e-5, rtol=1e-5)


@settings(max_examples=40, deadline=None)
@given(**SHAPES, apart=st.sampled_from([1e-3, 0.1, 10.0]))
def test_divergence_is_that_of_the_softmaxes(rows, vocab, scale, masked, seed, apart):
    one = drawn(seed, rows, vocab, scale, 0.0)
    other = one + apart * drawn(seed + 1, rows, vocab, 1.0, masked)
    exact = torch.tensor([plain_divergence(*pair) for pair in zip(one, other, strict=True)])
    torch.testing.assert_close(js_divergence(one, other), exact, atol=2e-7, rtol=1e-3)
    torch.testing.assert_close(js_divergence(other, one), js_divergence(one, other))


def test_known_values():
    flat = torch.zeros(1, 8)
    sure = torch.full((1, 8), -torch.inf)
    sure[0, 3] = 5.0
    elsewhere = torch.full((1, 8), -torch.inf)
    elsewhere[0, 4] = -5.0
    assert entropy(flat).item() == pytest.approx(math.log(8))
    assert entropy(sure).item() == 0.0
    assert js_divergence(sure, elsewhere).item() == 1.0
    assert js_divergence(flat, flat).item() == 0.0
    # Half of it as sure as can be, half spread: 1/2 log2(16/9) + 1/2 (1/8 log2(2/9) + 7/8).
    expected = 0.5 * math.log2(16 / 9) + 0.5 * (math.log2(2 / 9) / 8 + 7 / 8)
    assert js_divergence(sure, flat).item() == pytest.approx(expected)


def test_equal_voices_do_not_differ_by_a_bit_and_nearly_equal_ones_by_little():
    logits = torch.randn(3, 5000) * 4
    assert js_divergence(logits, logits + 7.0).le(1e-6).all()
    assert torch.equal(js_divergence(logits, logits.clone()), torch.zeros(3))


def test_rows_without_a_possible_token_and_faults():
    empty = torch.full((1, 4), -torch.inf)
    fault = torch.tensor([[1.0, torch.nan, 2.0, 0.0]])
    masked = torch.tensor([[1.0, -torch.inf, 2.0, 0.0]])
    other = torch.randn(1, 4)
    assert entropy(empty).item() == 0.0
    assert js_divergence(empty, other).item() == js_divergence(other, empty).item() == 0.0
    assert entropy(torch.full((1, 4), torch.nan)).item() == 0.0
    assert torch.equal(entropy(fault), entropy(masked))
    assert torch.equal(js_divergence(fault, other), js_divergence(masked, other))


def test_differently_padded_vocabularies_are_compared_where_both_have_tokens():
    one, other = torch.randn(2, 9), torch.randn(2, 7)
    assert torch.equal(js_divergence(one, other), js_divergence(one[:, :7], other))
    assert torch.equal(js_divergence(other, one), js_divergence(other, one[:, :7]))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precisions_are_widened_first(dtype):
    one, other = (torch.randn(3, 700).to(dtype) for _ in range(2))
    assert torch.equal(entropy(one), entropy(one.float()))
    assert torch.equal(js_divergence(one, other), js_divergence(one.float(), other.float()))


def test_the_memory_taken_does_not_grow_with_the_rows(monkeypatch):
    """Blocks of rows are worked on one after the other, and nothing depends on where they are cut."""
    one, other = torch.randn(11, 64) * 3, torch.randn(11, 64) * 3
    whole = entropy(one), js_divergence(one, other)
    largest = 0

    def blocks(rows, vocab):
        for start in range(0, rows, 2):
            yield slice(start, min(start + 2, rows))

    monkeypatch.setattr(divergence, "row_blocks", blocks)
    clean = divergence._clean

    def watched(logits):
        nonlocal largest
        largest = max(largest, len(logits))
        return clean(logits)

    monkeypatch.setattr(divergence, "_clean", watched)
    assert torch.equal(entropy(one), whole[0])
    assert torch.equal(js_divergence(one, other), whole[1])
    assert largest == 2


def test_rows_that_do_not_match_are_refused():
    with pytest.raises(ValueError, match="3 rows against 2"):
        js_divergence(torch.zeros(3, 4), torch.zeros(2, 4))
