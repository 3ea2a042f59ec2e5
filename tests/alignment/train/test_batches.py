"""What reaches the model: labels where loss is, and packed texts that don't see each other."""

from __future__ import annotations

from pathlib import Path

import torch

from motet_alignment.train.batches import IGNORED, Collator
from motet_alignment.train.samples import Sample, Text


def sample(*ids: int, marked: int) -> Sample:
    """A text of which the last `marked` tokens carry loss."""
    return Sample((Text(list(ids), [0] * (len(ids) - marked) + [1] * marked),), "here:1")


SAMPLES = [sample(5, 6, 7, 8, marked=2), sample(9, 10, marked=2), sample(11, 12, 13, marked=1)]


def test_padded_rows():
    batch = Collator(0)(((0,), (1,)), SAMPLES)
    assert batch["input_ids"].tolist() == [[5, 6, 7, 8], [9, 10, 0, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]
    assert batch["labels"].tolist() == [[IGNORED, IGNORED, 7, 8], [IGNORED, 10, IGNORED, IGNORED]]
    assert batch["last"].tolist() == [3, 1]


def test_texts_of_a_sample_are_neighbours():
    pair = Sample((SAMPLES[0].texts[0], SAMPLES[1].texts[0]), "here:2", margin=0.5, confidence=0.75)
    batch = Collator(0)(((0,), (1,)), [pair, Sample(SAMPLES[2].texts, "here:3")])
    assert batch["group"].tolist() == [0, 0, 1]
    assert batch["rank"].tolist() == [0, 1, 0]
    assert batch["margin"].tolist() == [0.5, 0.0]
    assert batch["confidence"].tolist() == [0.75, 1.0]


def test_packed_rows_have_no_label_across_a_border():
    batch = Collator(0)(((0, 1), (2,)), SAMPLES)
    assert batch["input_ids"].tolist() == [[5, 6, 7, 8, 9, 10], [11, 12, 13, 0, 0, 0]]
    assert batch["position_ids"].tolist() == [[0, 1, 2, 3, 0, 1], [0, 1, 2, 0, 0, 0]]
    assert batch["labels"].tolist() == [
        [IGNORED, IGNORED, 7, 8, IGNORED, 10],
        [IGNORED, IGNORED, 13, IGNORED, IGNORED, IGNORED],
    ]


def test_packed_texts_have_the_logits_they_have_alone(tiny: Path):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny).eval()
    packed = Collator(0)(((0, 1), (2,)), SAMPLES)
    with torch.no_grad():
        together = model(
            input_ids=packed["input_ids"], position_ids=packed["position_ids"], use_cache=False
        ).logits
        alone = [model(input_ids=torch.tensor([one.texts[0].ids])).logits[0] for one in SAMPLES]
    torch.testing.assert_close(together[0], torch.cat(alone[:2]), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(together[1, :3], alone[2], rtol=1e-5, atol=1e-5)
