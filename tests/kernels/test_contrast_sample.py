"""The fused draw against a float64 reference, one row at a time."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from motet_kernels.contrast import ContrastRows
from motet_kernels.contrast_sample import NO_TOKEN, Drawn, Sampling, contrast_sample
from motet_kernels.noise import gumbel, noise_keys, random_bits

from .batches import edits_of, rows_of, sampling_of


def row_reference(row, logits, sampling, amateur, rows, edits):
    """(token, logprob, how near the decision was) of one row in float64, from the definition."""
    raw = logits[row].double()
    raw[raw.isnan()] = -torch.inf
    edited = raw.clone()
    for entry in range(0 if edits is None else len(edits.row)):
        token = int(edits.token[entry])
        if int(edits.row[entry]) != row or not 0 <= token < len(raw):
            continue
        value = float(edited[token]) + float(edits.bias[entry])
        if edits.prompted[entry] or edits.count[entry] > 0:
            factor = float(edits.repetition[row])
            value = value / factor if value > 0 else value * factor
        value -= float(edits.frequency[row]) * int(edits.count[entry])
        value -= float(edits.presence[row]) * bool(edits.count[entry] > 0)
        edited[token] = value
    scores, margins = edited.clone(), []
    index = None if rows is None else range(len(logits)) if rows.index is None else rows.index.tolist()
    if index is not None and row in index:
        slot = list(index).index(row)
        shared = min(len(raw), amateur.shape[1])
        against = amateur[slot, :shared].double().clamp(min=-1e30)
        weight, pull, floor = (float(x[slot]) for x in (rows.weight, rows.pull, rows.floor))
        threshold = edited[:shared].max() + floor
        margins.append((edited[:shared] - threshold).abs().min())
        scores = torch.full_like(raw, -torch.inf)
        scores[:shared] = (
            edited[:shared] + torch.nan_to_num(raw[:shared] * (weight - 1), neginf=0) - pull * against
        )
        scores[:shared][(edited[:shared] < threshold) | (edited[:shared] == -torch.inf)] = -torch.inf
    heat = float(sampling.temperature[row])
    if scores.max() == -torch.inf:
        return NO_TOKEN, float("nan"), 1.0
    if heat == 0:
        two = scores.topk(min(2, len(scores))).values
        logprob = scores.log_softmax(0).max()
        return int(scores.argmax()), float(logprob), float(two[0] - two[-1]) if len(two) > 1 else 1.0
    x = scores / heat
    kept = x > -torch.inf
    floor = x.max() + float(sampling.min_p[row].double().log())
    margins.append((x[kept] - floor).abs().min())
    kept &= x >= floor
    k = int(sampling.top_k[row])
    if 0 < k < len(x):
        ordered = x[kept].sort(descending=True).values
        kept &= x >= ordered[min(k, len(ordered)) - 1]
    p = float(sampling.top_p[row])
    if p < 1:
        ordered = x[kept].sort(descending=True).values
        reached = ordered.softmax(0).cumsum(0)
        margins.append((reached - p).abs().min())
        kept &= x >= ordered[min(int((reached < p).sum()), len(ordered) - 1)]
    keys = noise_keys(sampling.seed[row : row + 1], sampling.position[row : row + 1])
    noise = gumbel(random_bits(keys, torch.arange(len(x), dtype=torch.int32))).double()
    favour = torch.where(kept, x + noise, -torch.inf)
    two = favour.topk(min(2, len(x))).values
    margins.append(two[0] - two[-1] if len(two) > 1 else torch.tensor(1.0))
    token = int(favour.argmax())
    return token, float(x[token] - x[kept].logsumexp(0)), float(min(margins))


def agrees(logits, sampling, amateur=None, rows=None, edits=None):
    copies = [None if x is None else x.clone() for x in (logits, amateur)]
    drawn = contrast_sample(logits, sampling, amateur=amateur, rows=rows, edits=edits)
    decided = 0
    for row in range(len(logits)):
        token, logprob, margin = row_reference(row, copies[0], sampling, copies[1], rows, edits)
        if margin > 2e-5 * max(1.0, float(copies[0][row].abs().nan_to_num(posinf=0).max())):
            assert int(drawn.token[row]) == token, row
            np.testing.assert_allclose(
                float(drawn.logprob[row]), logprob, rtol=1e-4, atol=1e-4, err_msg=str(row)
            )
            decided += 1
    return decided, drawn


@settings(max_examples=40, deadline=None)
@given(
    vocab=st.sampled_from([2, 3, 50, 1023, 1024, 1025, 32_000]),
    batch=st.integers(1, 13),
    scale=st.sampled_from([0.3, 3.0, 12.0]),
    contrasted=st.booleans(),
    edited=st.booleans(),
    everyone=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_agrees_with_the_definition(vocab, batch, scale, contrasted, edited, everyone, seed):
    generator = torch.Generator().manual_seed(seed)
    logits, amateur = (torch.randn(batch, vocab, generator=generator) * scale for _ in range(2))
    index = [row for row in range(batch) if everyone or (row + seed) % 3]
    rows = dataclasses.replace(rows_of(index), index=None) if everyone else rows_of(index)
    voices = (amateur[: len(index)], rows) if contrasted and index else (None, None)
    edits = edits_of(batch, vocab, generator, each=min(6, vocab)) if edited else None
    agrees(logits, sampling_of(batch, position=seed % 1000), *voices, edits)


def test_most_decisions_are_compared():
    """``agrees`` leaves out what rounding could decide; that must be little."""
    generator = torch.Generator().manual_seed(0)
    decided, _ = agrees(torch.randn(60, 500, generator=generator) * 3, sampling_of(60))
    assert decided >= 54


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("width", [100, 151_936])
def test_a_large_vocabulary_in_half_precision(dtype, width):
    generator = torch.Generator().manual_seed(3)
    logits = (torch.randn(5, 151_936, generator=generator) * 4).to(dtype)
    amateur = (torch.randn(3, width, generator=generator) * 4).to(dtype)
    agrees(logits, sampling_of(5), amateur, rows_of([4, 0, 2]))


def sampling(batch, **columns):
    neutral = {"temperature": 1.0, "min_p": 0.0, "top_k": 0, "top_p": 1.0}
    types = {"top_k": torch.int32}
    return Sampling(
        **{name: torch.full((batch,), columns.get(name, value), dtype=types.get(name, torch.float32))
           for name, value in neutral.items()},
        seed=torch.arange(batch),
        position=torch.full((batch,), 17),
    )  # fmt: skip


@pytest.mark.parametrize(
    "columns",
    [
        {},
        {"temperature": 0.6},
        {"top_k": 7},
        {"top_p": 0.8},
        {"min_p": 0.1},
        {"top_k": 20, "top_p": 0.7, "min_p": 0.02},
    ],
    ids=str,
)
@pytest.mark.parametrize("contrasted", [False, True])
def test_draws_follow_the_distribution(columns, contrasted):
    draws, vocab = 20_000, 40
    generator = torch.Generator().manual_seed(1)
    # All negative: a mask that is filled with 0 would win every draw.
    expert = -5 - 3 * torch.rand(vocab, generator=generator)
    amateur = torch.randn(vocab, generator=generator)
    rows = ContrastRows(torch.full((draws,), 1.5), torch.full((draws,), 0.5), torch.full((draws,), -2.0))
    voices = {"amateur": amateur.expand(draws, -1), "rows": rows} if contrasted else {}
    drawn = contrast_sample(expert.repeat(draws, 1), sampling(draws, **columns), **voices)
    scores = expert.double()
    if contrasted:
        scores = torch.where(expert >= expert.max() - 2, 1.5 * scores - 0.5 * amateur.double(), -torch.inf)
    x = (scores / columns.get("temperature", 1.0)).log_softmax(0)
    kept = x >= x.max() + np.log(columns.get("min_p", 0) or 1e-300)
    if "top_k" in columns:
        kept &= x >= x[kept].sort(descending=True).values[min(columns["top_k"], int(kept.sum())) - 1]
    if "top_p" in columns:
        ordered = x[kept].sort(descending=True).values
        kept &= x >= ordered[int((ordered.softmax(0).cumsum(0) < columns["top_p"]).sum())]
    wanted = torch.where(kept, x, -torch.inf).softmax(0)
    observed = np.bincount(drawn.token, minlength=vocab)
    assert observed[~kept.numpy()].sum() == 0
    assert chisquare(observed[kept.numpy()], wanted[kept].numpy() * draws).pvalue > 1e-4
    torch.testing.assert_close(drawn.logprob.double(), wanted[drawn.token].log(), atol=1e-4, rtol=1e-4)


def picked(value, order):
    """The same dataclass with its rows in another order."""
    return dataclasses.replace(
        value, **{f.name: getattr(value, f.name)[order] for f in dataclasses.fields(value)}
    )


def test_rows_depend_on_nothing_but_themselves():
    generator = torch.Generator().manual_seed(4)
    logits, amateur = (torch.randn(24, 3000, generator=generator) * 3 for _ in range(2))
    how, rows = sampling_of(24), rows_of(list(range(24)))
    rows = dataclasses.replace(rows, index=None)
    columns = [rows.weight, rows.pull, rows.floor]

    def draw(order) -> Drawn:
        chosen = ContrastRows(*(column[order] for column in columns))
        return contrast_sample(logits[order], picked(how, order), amateur=amateur[order], rows=chosen)

    everything = draw(torch.arange(24))
    order = torch.randperm(24, generator=generator)
    assert torch.equal(draw(order).token, everything.token[order])
    assert torch.equal(draw(order).logprob, everything.logprob[order])
    for row in range(24):
        alone = draw(torch.tensor([row]))
        assert torch.equal(alone.token, everything.token[row : row + 1])
        assert torch.equal(alone.logprob, everything.logprob[row : row + 1])


def test_seeds_and_positions_move_the_draw_and_nothing_else_does():
    logits = torch.zeros(64, 500)
    first = contrast_sample(logits, sampling(64)).token
    assert torch.equal(contrast_sample(logits, sampling(64)).token, first)
    for change in ({"seed": torch.arange(64) + 2**32}, {"position": torch.full((64,), 18)}):
        moved = contrast_sample(logits, dataclasses.replace(sampling(64), **change)).token
        assert (moved != first).sum() > 55


def test_rows_of_nothing_and_of_faults():
    logits = torch.randn(4, 30)
    logits[0] = -torch.inf
    logits[1] = torch.nan
    logits[2, 3] = torch.inf
    logits[3, 7] = torch.nan
    drawn = contrast_sample(logits, sampling(4))
    assert drawn.token[:3].tolist() == [NO_TOKEN, NO_TOKEN, 3]
    assert drawn.logprob[:2].isnan().all()
    assert drawn.token[3] != 7
    assert drawn.logprob[3].isfinite()
    assert len(contrast_sample(torch.empty(0, 5), sampling(0)).token) == 0


def test_ties_at_an_edge_stay_together():
    logits = torch.tensor([[1.0, 1.0, 1.0, 0.0]]).repeat(400, 1)
    for columns in ({"top_k": 1}, {"top_p": 0.1}):
        assert set(contrast_sample(logits, sampling(400, **columns)).token.tolist()) == {0, 1, 2}
    assert set(contrast_sample(logits, sampling(400, temperature=0.0)).token.tolist()) == {0}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"amateur": torch.zeros(2, 5)}, "amateur and rows"),
        (
            {"amateur": torch.zeros(2, 5), "rows": rows_of([0])},
            "2 amateur rows and 1 settings for 1 asking rows",
        ),
        ({"logits": torch.zeros(3, 5)}, "2 sampling rows for 3 rows of logits"),
        (
            {
                "logits": torch.zeros(2, 5, dtype=torch.bfloat16),
                "edits": edits_of(2, 5, torch.Generator(), each=2),
            },
            "edits need float32, not torch.bfloat16",
        ),
    ],
)
def test_what_does_not_belong_together_is_refused(given, says):
    with pytest.raises(ValueError, match=says):
        contrast_sample(**{"logits": torch.zeros(2, 5), "sampling": sampling(2), **given})
