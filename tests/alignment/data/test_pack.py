"""Packing loses no token, keeps examples whole and apart, and changes no logit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from motet_alignment.data import IGNORED, Rendered, pack, render
from motet_alignment.data.pack import bins
from motet_alignment.errors import DataError
from motet_models import EXPERT


@given(some.lists(some.integers(1, 20), max_size=60))
def test_bins_hold_every_example_once_and_none_is_too_full(lengths):
    groups = bins(lengths, 20)
    assert sorted(place for group in groups for place in group) == list(range(len(lengths)))
    sums = [sum(lengths[place] for place in group) for group in groups]
    assert all(total <= 20 for total in sums)
    # No two bins would have fitted into one, as first-fit and best-fit promise.
    assert all(one + other > 20 for place, one in enumerate(sums) for other in sums[:place])


def test_bins_fill_as_best_fit_does():
    assert bins([4, 8, 1, 4, 2, 1], 10) == [[1, 4], [0, 2, 3, 5]]
    assert bins([], 10) == []
    with pytest.raises(DataError, match="example 2 has 11 tokens and does not fit into 10"):
        bins([1, 11], 10)


tokens = some.integers(0, 767)
examples = some.lists(
    some.lists(some.tuples(tokens, some.integers(0, 1)), min_size=1, max_size=12), max_size=12
).map(lambda rows: [Rendered([t for t, _ in row], [flag for _, flag in row]) for row in rows])


@given(examples)
def test_packing_conserves_every_token_label_and_position(rendered):
    packed = pack(rendered, 12)
    found = []
    for row in packed:
        assert len(row.input_ids) == len(row.position_ids) == len(row.labels) <= 12
        starts = [place for place, position in enumerate(row.position_ids) if position == 0]
        for begin, end in zip(starts, [*starts[1:], len(row.input_ids)], strict=True):
            assert row.position_ids[begin:end] == list(range(end - begin))
            found.append((row.input_ids[begin:end], row.labels[begin:end]))
    wanted = [
        (
            one.input_ids,
            [
                token if flag and place else IGNORED
                for place, (token, flag) in enumerate(zip(one.input_ids, one.assistant, strict=True))
            ],
        )
        for one in rendered
    ]
    assert sorted(found) == sorted(wanted)


def test_packed_logits_equal_the_unpacked_ones(tokenizer, chat):
    """transformers must build the block-diagonal mask from positions alone, which it does where nothing is cached."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(EXPERT).eval()
    assert model.config._attn_implementation == "sdpa"
    rendered = [
        render(tokenizer, chat(f"What is {place} + 9?", "1" * (3 * place + 1)), context=100)
        for place in range(4)
    ]
    (row,) = pack(rendered, sum(len(one.input_ids) for one in rendered))
    with torch.no_grad():
        packed = model(
            input_ids=torch.tensor([row.input_ids]),
            position_ids=torch.tensor([row.position_ids]),
            use_cache=False,
        ).logits[0]
        alone = torch.cat([model(input_ids=torch.tensor([one.input_ids])).logits[0] for one in rendered])
        leaking = model(input_ids=torch.tensor([row.input_ids]), use_cache=False).logits[0]
    torch.testing.assert_close(packed, alone, rtol=1e-4, atol=1e-4)
    assert (leaking - alone).abs().max() > 0.1  # without positions, one example does see another
