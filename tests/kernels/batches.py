"""Batches that mix every kind of row, for the tests of the fused draw."""

from __future__ import annotations

import torch

from motet_kernels.contrast import ContrastRows
from motet_kernels.contrast_sample import Edits, Sampling


def column(values, batch, dtype=torch.float32):
    return torch.tensor([values[row % len(values)] for row in range(batch)], dtype=dtype)


def sampling_of(batch, *, position=0):
    """Greedy, free and truncated rows in turn; the lengths of the lists share no factor, so the mixes differ."""
    return Sampling(
        temperature=column([1.0, 0.0, 0.7, 2.0, 1.0, 0.3, 1.0], batch),
        min_p=column([0.0, 0.0, 0.05, 0.0, 0.0], batch),
        top_k=column([0, 0, 5, 0, 40, 1, 0, 0], batch, torch.int32),
        top_p=column([1.0, 0.9, 1.0, 0.5, 0.99, 1.0, 0.1, 1.0, 1.0], batch),
        seed=torch.arange(batch) * 7919 - 3,
        position=torch.full((batch,), position),
    )


def rows_of(index):
    """Settings of every form and bound for the batch rows of ``index``."""
    n = len(index)
    return ContrastRows.of(
        column([0.5, 0.0, 2.0, 10.0], n),
        column([0.1, 0.0, 0.5, 1e-3, 1.0], n),
        column([True, True, False], n, torch.bool),
        column([1.0, 0.5, 20.0], n),
        torch.tensor(index),
    )


def edits_of(batch, vocab, generator, each=6):
    """A few tokens of every row with a bias, a count and a place in the prompt; some lie outside the logits."""
    token = torch.stack(
        [torch.randperm(vocab + 2, generator=generator)[:each] for _ in range(batch)]
    ).flatten()
    entries = batch * each
    return Edits(
        row=torch.arange(batch).repeat_interleave(each),
        token=token,
        bias=torch.randn(entries, generator=generator) * 3,
        count=torch.randint(0, 4, (entries,), generator=generator, dtype=torch.int32),
        prompted=torch.rand(entries, generator=generator) < 0.5,
        repetition=column([1.0, 1.3, 0.8], batch),
        frequency=column([0.0, 0.5], batch),
        presence=column([0.0, 0.0, 1.0, -0.5], batch),
    )
