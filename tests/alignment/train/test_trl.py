"""Our losses against TRL's own, on the same batch and the same weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.alignment.train.test_trainers import built

from motet_alignment.train import DpoSettings, RewardSettings, SftSettings
from motet_alignment.train.batches import IGNORED


def stirred(model) -> None:
    """Gives the fresh LoRA, which changes nothing yet, something to say."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.05, generator=torch.Generator().manual_seed(len(name)))


def arguments(config: type, folder: Path, **more):
    return config(
        output_dir=str(folder),
        use_cpu=True,
        bf16=False,
        report_to="none",
        per_device_train_batch_size=8,
        **more,
    )


def test_sft(place, sums, tmp_path):
    from trl import SFTTrainer

    ours = built(SftSettings(**place, data=(sums,), steps=1))
    stirred(ours.model)
    inputs = next(iter(ours.get_train_dataloader()))
    with torch.no_grad():
        found = ours.losses(ours.model, inputs)
        theirs = SFTTrainer.compute_loss(
            ours, ours.model, {key: inputs[key] for key in ("input_ids", "attention_mask", "labels")}
        )
    assert found.item() == pytest.approx(theirs.item(), rel=1e-6)


def test_reward(place, pairs, tmp_path):
    from datasets import Dataset
    from trl import RewardConfig, RewardTrainer

    ours = built(RewardSettings(**place, data=(pairs,), steps=1, centring=0.05))
    stirred(ours.model)
    samples = [replace(sample, margin=0.1 * place) for place, sample in enumerate(ours.work.samples)]
    ours.work = replace(ours.work, samples=samples)
    inputs = next(iter(ours.get_train_dataloader()))
    rows = [samples[row[0]] for row in ours.work.plan.batches[0]]
    table = {
        "chosen_ids": [row.texts[0].ids for row in rows],
        "rejected_ids": [row.texts[1].ids for row in rows],
        "margin": [row.margin for row in rows],
    }
    data = Dataset.from_dict(table)
    args = arguments(RewardConfig, tmp_path / "trl", center_rewards_coefficient=0.05, disable_dropout=False)
    trainer = RewardTrainer(ours.model, args=args, train_dataset=data, processing_class=ours.processing_class)
    with torch.no_grad():
        theirs = trainer.compute_loss(
            trainer.model, trainer.data_collator([data[place] for place in range(len(data))])
        )
        found = ours.losses(ours.model, inputs)
    assert found.item() == pytest.approx(theirs.item(), rel=1e-5)


@pytest.mark.parametrize(
    ("options", "theirs"),
    [
        ({}, {"loss_type": ["sigmoid"]}),
        ({"loss": "hinge"}, {"loss_type": ["hinge"]}),
        ({"loss": "ipo"}, {"loss_type": ["ipo"]}),
        ({"loss": "robust", "label_smoothing": 0.2}, {"loss_type": ["robust"], "label_smoothing": 0.2}),
        ({"length_normalised": True}, {"loss_type": ["sigmoid_norm"]}),
    ],
)
def test_dpo(place, pairs, tmp_path, options, theirs):
    from datasets import Dataset
    from transformers import AutoModelForCausalLM
    from trl import DPOConfig, DPOTrainer

    settings = DpoSettings(**place, data=(pairs,), steps=1, beta=0.3, reference="base", **options)
    ours = built(settings)
    stirred(ours.model)
    inputs = next(iter(ours.get_train_dataloader()))
    base = AutoModelForCausalLM.from_pretrained(place["model"])
    data = Dataset.from_dict({"prompt": ["a"], "chosen": ["b"], "rejected": ["c"]})
    args = arguments(DPOConfig, tmp_path / "trl", beta=0.3, max_length=None, disable_dropout=False, **theirs)
    trainer = DPOTrainer(
        ours.model, ref_model=base, args=args, train_dataset=data, processing_class=ours.processing_class
    )
    rows = [ours.work.samples[row[0]] for row in ours.work.plan.batches[0]]

    def parted(sample) -> dict[str, list[int]]:
        chosen, rejected = sample.texts
        begin = chosen.mask.index(1)
        # What the template writes behind the end of the turn is nobody's to learn, and to TRL all of it would be.
        end = [len(text.mask) - text.mask[::-1].index(1) for text in sample.texts]
        return {
            "prompt_ids": chosen.ids[:begin],
            "chosen_ids": chosen.ids[begin : end[0]],
            "rejected_ids": rejected.ids[begin : end[1]],
        }

    with torch.no_grad():
        batch = trainer.data_collator([parted(row) for row in rows])
        expected = trainer.compute_loss(trainer.model, batch)
        found = ours.losses(ours.model, inputs)
    assert found.item() == pytest.approx(expected.item(), rel=1e-4)
    assert int((inputs["labels"] != IGNORED).sum()) == int(batch["completion_mask"].sum())
