"""What `mix` weighs: a whole run's examples against its text, however its batches fall out."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from motet_alignment.train.losses import mixed
from motet_alignment.train.plan import Batching, make_plan
from motet_alignment.train.samples import Sample, Text
from motet_alignment.train.sft import SftTrainer


def sample(tokens: int, *, text: bool) -> Sample:
    return Sample((Text(tuple(range(tokens)), (1,) * tokens),), "made up", pretraining=text)


def totals_of(samples):
    plan = make_plan([one.longest for one in samples], Batching(64), epochs=1, steps=None, seed=0)
    trainer = SftTrainer.__new__(SftTrainer)
    trainer.work = SimpleNamespace(plan=plan, samples=samples)
    return plan, trainer, trainer.step_totals()


def test_steps_of_examples_or_text_alone_add_up_to_the_mix():
    samples = [sample(5, text=False) for _ in range(60)] + [sample(60, text=True) for _ in range(20)]
    plan, trainer, totals = totals_of(samples)
    kinds = [{samples[place].pretraining for row in batch for place in row} for batch in plan.batches]
    assert {frozenset(kind) for kind in kinds} >= {frozenset({True}), frozenset({False})}
    # Every token of an example costs 2 nats and every token of text 3.
    steps = []
    for number, of_step in enumerate(totals):
        places = [place for batch in plan.step(number) for row in batch for place in row]
        weights = [trainer.weigh(samples[place]) for place in places]
        examples, text = (torch.tensor(float(sum(part))) for part in zip(*weights, strict=True))
        steps.append(mixed(2 * examples, 3 * text, torch.tensor(of_step), 0.9))
    assert float(sum(steps)) / len(steps) == pytest.approx(0.9 * 2 + 0.1 * 3, rel=1e-5)


def test_without_text_each_step_is_divided_by_its_own_tokens():
    samples = [sample(5 + place % 7, text=False) for place in range(30)]
    plan, trainer, totals = totals_of(samples)
    for number, (examples, text) in enumerate(totals):
        places = [place for batch in plan.step(number) for row in batch for place in row]
        assert (examples, text) == (sum(trainer.weigh(samples[place])[0] for place in places), 0.0)
