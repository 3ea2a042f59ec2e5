"""Batches: everything once an epoch, within the budget, the same for a seed, dealt out without overlap."""

from __future__ import annotations

from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet_alignment.errors import TrainError
from motet_alignment.train.plan import Batching, epoch_batches, make_plan, ordered_batches

LENGTHS = st.lists(st.integers(2, 90), min_size=1, max_size=120)


def flat(batches) -> list[int]:
    return [place for batch in batches for row in batch for place in row]


@given(LENGTHS, st.integers(1, 300), st.integers(0, 3))
def test_an_epoch_holds_every_sample_once_and_batches_fit(lengths, tokens, epoch):
    batches = epoch_batches(lengths, Batching(tokens), 0, epoch)
    assert sorted(flat(batches)) == list(range(len(lengths)))
    for batch in batches:
        longest = max(lengths[row[0]] for row in batch)
        assert len(batch) == 1 or len(batch) * longest <= tokens
    assert sorted(flat(ordered_batches(lengths, Batching(tokens)))) == list(range(len(lengths)))


@given(LENGTHS, st.integers(90, 200))
def test_packed_rows_hold_whole_samples_and_never_too_many(lengths, row):
    batches = epoch_batches(lengths, Batching(400, row=row), 0, 0)
    assert sorted(flat(batches)) == list(range(len(lengths)))
    assert all(sum(lengths[place] for place in one) <= row for batch in batches for one in batch)
    assert all(len(batch) <= max(1, 400 // row) for batch in batches)


def test_epochs_and_seeds_differ_and_repeat():
    lengths = [place % 7 + 2 for place in range(100)]

    def order(seed: int, epoch: int):
        return epoch_batches(lengths, Batching(20), seed, epoch)

    assert order(0, 0) == order(0, 0)
    assert order(0, 0) != order(0, 1)
    assert order(0, 0) != order(1, 0)


def test_batch_size_counts_samples():
    batches = epoch_batches([5] * 10, Batching(1, size=4), 0, 0)
    assert sorted(map(len, batches)) == [2, 4, 4]


@given(LENGTHS, st.integers(1, 3), st.integers(1, 3))
def test_processes_share_each_step_evenly(lengths, processes, accumulation):
    plan = make_plan(
        lengths,
        Batching(64),
        epochs=2,
        steps=None,
        seed=0,
        processes=processes,
        accumulation=accumulation,
    )
    mine = [plan.of(process) for process in range(processes)]
    assert len({len(batches) for batches in mine}) == 1
    assert sorted(chain.from_iterable(mine)) == sorted(plan.batches)
    assert list(chain.from_iterable(plan.step(step) for step in range(plan.steps))) == list(plan.batches)
    alone = make_plan(lengths, Batching(64), epochs=2, steps=None, seed=0)
    assert plan.batches[: len(alone.batches)] == alone.batches  # who else takes part changes no order


def test_steps_take_the_place_of_epochs():
    plan = make_plan([5] * 6, Batching(10), epochs=1, steps=7, seed=0, processes=2, accumulation=2)
    assert plan.steps == 7
    assert len(plan.batches) == 28


def test_half_an_epoch():
    assert make_plan([5] * 40, Batching(10), epochs=1.5, steps=None, seed=0).steps == 30


def test_nothing_to_train_on():
    with pytest.raises(TrainError, match="nothing to train on"):
        make_plan([], Batching(10), epochs=1, steps=None, seed=0)
