from __future__ import annotations

import pytest
import torch

from motet_benchmarks.kernels import inputs
from motet_benchmarks.kernels.cases import Case, Controls
from motet_benchmarks.kernels.inputs import ENTRY_BYTES, History, Voices
from motet_kernels import ContrastRows

LOG_HALF = torch.tensor(0.5).log()


def case(job="contrast_sample", subject="every row contrast", how="everything", **changes):
    values = {"mood": "peaky", "dtype": "float32", "batch": 6, "vocab": 400} | changes
    return Case(job, subject, how, **values)


def by_hand(index, edits=None):
    """Three rows of five logits; 2, 1 and 5 of them are half as likely as the best."""
    expert = torch.tensor([[0.0, -0.6, -9, -9, -9], [3, -1, -9, 2, -9], [1, 1, 1, 1, 1]])
    asking = len(expert) if index is None else len(index)
    rows = ContrastRows(torch.ones(asking), torch.ones(asking), LOG_HALF.expand(asking), index)
    amateur = torch.zeros(asking, 5, dtype=torch.bfloat16)
    return Voices(expert, amateur, rows, Controls(), inputs.sampling(Controls(), 3, "cpu"), None, edits)


def test_least_bytes_by_hand():
    every, two = by_hand(None), by_hand(torch.tensor([0, 2]))
    # Expert read and scores written in float32, amateur read in bfloat16 at 2 + 1 + 5 tokens, or at 2 + 5.
    assert inputs.least_bytes(case("contrast"), every) == 2 * 15 * 4 + 8 * 2
    assert inputs.least_bytes(case("contrast"), two) == 2 * 10 * 4 + 7 * 2
    # The draw reads every row of the expert and writes none.
    assert inputs.least_bytes(case(), every) == 15 * 4 + 8 * 2
    assert inputs.least_bytes(case(), two) == 15 * 4 + 7 * 2
    plain = Voices(every.expert, None, None, Controls(), every.sampling, None, None)
    assert inputs.least_bytes(case(), plain) == 15 * 4


def test_penalties_move_the_head_that_is_counted():
    said = History(torch.tensor([[1], [1], [1]]), torch.tensor([[0, 0], [0, 0], [4, 4]]))
    edits = inputs.penalties(said, 5)
    # Row 0: [-0.5, -0.66, ...], two half as likely; row 1: [2.23, -1.1, -9, 2, -9], now two as well;
    # row 2: [1, 0.91, 1, 1, 0.41], all five still.
    assert inputs.least_bytes(case(), by_hand(None, edits)) == 15 * 4 + (2 + 2 + 5) * 2 + 6 * ENTRY_BYTES


def test_what_was_said_becomes_one_entry_a_token():
    said = History(torch.tensor([[7, 7, 2], [1, 1, 1]]), torch.tensor([[2, 9, 9, 9], [0, 4, 4, 5]]))
    edits = inputs.penalties(said, 10)
    entries = {
        (row, token): (count, prompted)
        for row, token, count, prompted in zip(
            edits.row.tolist(),
            edits.token.tolist(),
            edits.count.tolist(),
            edits.prompted.tolist(),
            strict=True,
        )
    }
    assert entries == {
        (0, 2): (1, True),
        (0, 7): (0, True),
        (0, 9): (3, False),
        (1, 0): (1, False),
        (1, 1): (0, True),
        (1, 4): (2, False),
        (1, 5): (1, False),
    }


@pytest.mark.parametrize(("mood", "low", "high"), [("peaky", 1, 15), ("flat", 20_000, 20_000)])
def test_how_many_tokens_are_plausible(mood, low, high):
    given = inputs.voices(case(mood=mood, how="temperature", vocab=20_000, batch=50), "cpu", 0)
    head = given.expert >= given.expert.amax(dim=1, keepdim=True) + torch.tensor(inputs.PLAUSIBILITY).log()
    assert low <= float(head.sum(dim=1).double().mean()) <= high


def test_the_same_seed_gives_the_same_input():
    first, again, other = (inputs.voices(case(), "cpu", seed) for seed in (1, 1, 2))
    assert torch.equal(first.expert, again.expert)
    assert torch.equal(first.edits.token, again.edits.token)
    assert not torch.equal(first.expert, other.expert)


def test_half_of_the_rows_ask():
    given = inputs.voices(case(subject="half contrast"), "cpu", 0)
    assert given.rows.index.tolist() == [0, 2, 4]
    assert len(given.amateur) == len(given.rows) == 3


@pytest.mark.parametrize(
    ("subject", "how", "size"),
    [
        ("from logits", "forward", 6 * 400 * 4),
        ("from logits", "forward and backward", 3 * 6 * 400 * 4),
        ("from hidden states", "forward", (6 + 400) * inputs.HIDDEN * 4),
        ("from hidden states", "forward and backward", 3 * (6 + 400) * inputs.HIDDEN * 4),
    ],
)
def test_bytes_of_token_logprobs(subject, how, size):
    wanted = case("token_logprobs", subject, how)
    given = inputs.tokens(wanted, "cpu", 0)
    assert inputs.least_bytes(wanted, given) == size
    assert all(leaf.requires_grad == ("backward" in how) for leaf in given.leaves)
