"""One training from settings to a published adapter."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from motet_alignment.errors import TrainError
from motet_alignment.store import check_name
from motet_alignment.train.checkpoints import write_json
from motet_alignment.train.devices import Place, choose_place
from motet_alignment.train.estimates import Estimate, as_json
from motet_alignment.train.evaluation import find_evaluation, greedy
from motet_alignment.train.inputs import Inputs, digest, read_inputs
from motet_alignment.train.models import Base, checkpoints_gradients, load_model, open_base
from motet_alignment.train.plan import Batching, Plan, make_plan
from motet_alignment.train.session import (
    ADAPTER,
    BATCH_TOKENS,
    RESULT,
    Trained,
    default_folder,
    held,
    identity_of,
    publish,
    troubles,
)
from motet_alignment.train.settings import DpoSettings, RewardSettings, SftSettings, TrainSettings, check


def train(settings: TrainSettings, *, progress: bool = True) -> Trained:
    """Trains, evaluates and publishes. Raises AlignmentError for all that its caller can mend."""
    # Before TRL is imported: it counts trainings with Hugging Face.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    console = Console(stderr=True, quiet=not progress)
    check(settings)
    check_name(settings.adapter_name)
    evaluations = {name: find_evaluation(name) for name in settings.evaluate}
    if evaluations and isinstance(settings, RewardSettings):
        raise TrainError("--evaluate measures what a model says; a reward model says nothing")
    place = choose_place(settings.device, settings.precision)
    if not place.leads:
        console = Console(stderr=True, quiet=True)
    base = open_base(settings)
    inputs = read_inputs(settings, base, progress=not console.quiet)
    for note in inputs.notes:
        console.print(f"note: {note}", soft_wrap=True, markup=False)
    identity = describe(settings, base, inputs, place)
    folder = settings.folder or default_folder(settings, identity)
    with troubles(settings, folder), held(folder, identity, settings, place) as checkpoint:
        return _train(settings, base, inputs, place, folder, checkpoint, evaluations, console)


def _train(
    settings: TrainSettings,
    base: Base,
    inputs: Inputs,
    place: Place,
    folder: Path,
    checkpoint: Path | None,
    evaluations: Mapping[str, Any],
    console: Console,
) -> Trained:
    from transformers import PrinterCallback

    from motet_alignment.train.trainer import Work
    from motet_alignment.train.watching import Bar, Record, Seal

    plan, batching = planned(settings, base, inputs, place)
    work = Work(plan, inputs.samples, inputs.held_out, batching, base.tokenizer.pad_token_id, place.process)
    model = load_model(settings, base, place)
    begin = int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0
    if checkpoint:
        console.print(
            f"going on after step {begin:,} of {plan.steps:,}, from {folder}", soft_wrap=True, markup=False
        )
    trainer = make_trainer(settings, base, place, work, folder, model, inputs)
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Seal())
    title = f"{settings.kind()} {settings.adapter_name}"
    bar = Bar(trainer.work, title, begin, console)
    if place.leads:
        trainer.add_callback(
            Record(folder, trainer.work, f"{title}: {len(inputs.samples):,} examples", begin)
        )
        trainer.add_callback(bar)
    began = time.monotonic()
    try:
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    finally:
        bar.close()
    metrics: dict[str, Estimate | float | int | str] = {
        "steps": plan.steps,
        "examples": len(inputs.samples),
        "seconds": round(time.monotonic() - began, 1),
    }
    if inputs.held_out:
        metrics |= {
            f"held_out_{name}": estimate for name, estimate in trainer.measure(trainer.work.held_out).items()
        }
    policy = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False).eval()
    if place.leads:
        for name, evaluation in evaluations.items():
            console.print(f"evaluating on {name}", soft_wrap=True)
            said = evaluation.evaluate(greedy(policy, base.tokenizer, base.context))
            metrics |= {f"{name}_{figure}": estimate for figure, estimate in said.items()}
        return _finish(settings, base, inputs, place, folder, policy, metrics)
    return Trained(None, folder, metrics)


def planned(settings: TrainSettings, base: Base, inputs: Inputs, place: Place) -> tuple[Plan, Batching]:
    """Every batch of the run."""
    tokens = settings.batch_tokens or BATCH_TOKENS
    row = 0
    if isinstance(settings, SftSettings) and settings.packing:
        longest = max(sample.longest for sample in inputs.samples)
        row = base.context if settings.batch_size is not None else max(min(base.context, tokens), longest)
    batching = Batching(tokens, settings.batch_size, row)
    plan = make_plan(
        [sample.longest * len(sample.texts) for sample in inputs.samples],
        batching,
        epochs=settings.epochs,
        steps=settings.steps,
        seed=settings.seed,
        processes=place.processes,
        accumulation=settings.accumulation,
    )
    return plan, batching


def _finish(
    settings: TrainSettings,
    base: Base,
    inputs: Inputs,
    place: Place,
    folder: Path,
    policy: Any,
    metrics: dict[str, Estimate | float | int | str],
) -> Trained:
    """Saves the adapter as PEFT does and publishes it."""
    home = folder / ADAPTER
    policy.save_pretrained(str(home))
    (home / "README.md").unlink(missing_ok=True)  # PEFT's card of blanks
    if base.template is not None:
        (home / "chat_template.jinja").write_text(base.template, "utf-8")
    adapter = None
    if settings.publish:
        scale = {"score_mean": inputs.scale[0], "score_spread": inputs.scale[1]}
        adapter = publish(
            settings,
            base,
            place,
            home,
            metrics=metrics,
            data=inputs.files,
            also=scale if inputs.kind == "rating" else None,
        )
    write_json(
        folder / RESULT,
        {"adapter": adapter and adapter.reference, "metrics": as_json(metrics), "notes": inputs.notes},
    )
    return Trained(adapter, folder, metrics)


def make_trainer(
    settings: TrainSettings, base: Base, place: Place, work: Any, folder: Path, model: Any, inputs: Inputs
) -> Any:
    """TRL's trainer for these settings, its batches planned and its reference known."""
    from datasets import Dataset
    from transformers.utils import logging

    from motet_alignment.train import dpo, reward, sft
    from motet_alignment.train.trainer import arguments

    logging.set_verbosity_error()
    module = {"sft": sft, "reward": reward, "dpo": dpo}[settings.kind()]
    args = arguments(
        module.CONFIG,
        settings,
        place,
        work.plan,
        folder,
        evaluating=bool(work.held_out),
        gradient_checkpointing=checkpoints_gradients(settings, model),
        **module.OPTIONS,
    )
    # TRL wants a data set to look at; what is trained on are the plan's batches.
    shown = Dataset.from_dict({"sample": list(range(len(work.samples)))})
    given = {"args": args, "train_dataset": shown, "processing_class": base.tokenizer, "work": work}
    given["eval_dataset"] = shown if work.held_out else None
    match settings:
        case SftSettings():
            trainer: Any = sft.SftTrainer(model, data_collator=_unused, **given)
            trainer.mix = settings.mix
        case RewardSettings():
            trainer = reward.ScalarTrainer(model, data_collator=_unused, **given)
            trainer.centring = settings.centring
            trainer.target = reward.target_of(inputs.kind, inputs.logistic)
        case DpoSettings():
            trainer = dpo.PolicyTrainer(model, data_collator=_unused, **given)
            trainer.loss, trainer.beta = settings.loss, settings.beta
            trainer.label_noise = settings.label_smoothing if settings.loss == "robust" else 0.0
            trainer.length_normalised = settings.length_normalised
            trainer.with_confidence = settings.confidence
            trainer.refer(settings.reference)
        case _:
            raise NotImplementedError(type(settings).__name__)
    return trainer


def _unused(samples: Any) -> Any:
    raise NotImplementedError("batches are made by the plan")


def describe(settings: TrainSettings, base: Base, inputs: Inputs, place: Place) -> dict[str, Any]:
    """What decides the weights that come out, as JSON: the same for two runs that may go on from each other."""
    return {
        **identity_of(settings, base, place),
        "examples": len(inputs.samples),
        "data": digest(inputs.samples),
    }
