"""Which examples go into which batch, for a whole run: settled before it begins, the same on every process."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from motet_alignment.data.pack import packed
from motet_alignment.errors import TrainError

#: One row of a batch: the samples packed into it, one unless packing is on.
Row = tuple[int, ...]
Batch = tuple[Row, ...]

# Batches' worth of samples that are sorted by length together: enough to waste little padding, few enough to mix.
_SORTED_TOGETHER = 50


@dataclass(frozen=True, slots=True)
class Batching:
    """How a process's batches are cut: by tokens, padding included, or by number of samples."""

    tokens: int
    size: int | None = None
    row: int = 0  # with packing: the tokens of a row; 0 without

    def full(self, count: int, longest: int) -> bool:
        """Whether `count` samples, the longest of `longest` tokens, are more than one batch."""
        return count > self.size if self.size is not None else count * longest > self.tokens


@dataclass(frozen=True, slots=True)
class Plan:
    """Every batch of the run in order; step s takes `processes * accumulation` of them."""

    batches: tuple[Batch, ...]
    processes: int
    accumulation: int

    @property
    def steps(self) -> int:
        """Optimizer steps."""
        per_step = self.processes * self.accumulation
        return -(-len(self.batches) // per_step)

    def step(self, number: int) -> tuple[Batch, ...]:
        """Every process's batches of step `number`, from 0."""
        per_step = self.processes * self.accumulation
        return self.batches[number * per_step : (number + 1) * per_step]

    def of(self, process: int) -> tuple[Batch, ...]:
        """One process's batches, in order."""
        return self.batches[process :: self.processes]


def make_plan(
    lengths: Sequence[int],
    batching: Batching,
    *,
    epochs: float,
    steps: int | None,
    seed: int,
    processes: int = 1,
    accumulation: int = 1,
) -> Plan:
    """Batches of samples of like length in a random order, anew each epoch.

    `lengths` are the samples' in tokens (of a pair: of its longer answer). Every sample comes once an epoch; only where
    several processes share the last step, batches from the beginning fill it up. Raises TrainError where there are
    no samples.
    """
    if not lengths:
        raise TrainError("there is nothing to train on")
    per_step = processes * accumulation
    if steps is not None:
        batches = list(islice(_endless(lengths, batching, seed), steps * per_step))
    else:
        batches = []
        whole = int(epochs)
        for epoch in range(whole):
            batches += epoch_batches(lengths, batching, seed, epoch)
        if part := epochs - whole:
            more = epoch_batches(lengths, batching, seed, whole)
            batches += more[: max(1, round(part * len(more)))]
    missing = -len(batches) % processes
    batches += [batches[place % len(batches)] for place in range(missing)]
    return Plan(tuple(batches), processes, accumulation)


def _endless(lengths: Sequence[int], batching: Batching, seed: int) -> Iterator[Batch]:
    epoch = 0
    while True:
        yield from epoch_batches(lengths, batching, seed, epoch)
        epoch += 1


def epoch_batches(lengths: Sequence[int], batching: Batching, seed: int, epoch: int) -> list[Batch]:
    """One pass over all samples."""
    dice = random.Random(f"{seed} {epoch}")
    order = list(range(len(lengths)))
    dice.shuffle(order)
    if batching.row:
        batches = _cut_packed(order, lengths, batching)
    else:
        typical = max(1, sum(lengths) // len(lengths))
        size = batching.size or max(1, batching.tokens // typical)
        chunk = size * _SORTED_TOGETHER
        batches = []
        for begin in range(0, len(order), chunk):
            by_length = sorted(order[begin : begin + chunk], key=lambda place: (-lengths[place], place))
            batches += _cut(by_length, lengths, batching)
    dice.shuffle(batches)
    return batches


def ordered_batches(lengths: Sequence[int], batching: Batching) -> list[Batch]:
    """All samples, longest first, for evaluation: what doesn't fit into memory shows at once."""
    order = sorted(range(len(lengths)), key=lambda place: (-lengths[place], place))
    return _cut(order, lengths, batching)


def _cut(order: Sequence[int], lengths: Sequence[int], batching: Batching) -> list[Batch]:
    batches: list[list[Row]] = []
    longest = 0
    for place in order:
        longest = max(longest, lengths[place])
        if not batches or batching.full(len(batches[-1]) + 1, longest):
            batches.append([])
            longest = lengths[place]
        batches[-1].append((place,))
    return [tuple(batch) for batch in batches]


def _cut_packed(order: Sequence[int], lengths: Sequence[int], batching: Batching) -> list[Batch]:
    rows = packed(order, lengths, batching.row)
    at_once = batching.size or max(1, batching.tokens // batching.row)
    return [
        tuple(tuple(row) for row in rows[begin : begin + at_once]) for begin in range(0, len(rows), at_once)
    ]
