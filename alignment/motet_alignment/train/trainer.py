"""What the three trainers share: batches as planned, held-out evaluation, and stopping before harm is done."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils.data import DataLoader

from motet_alignment.errors import TrainError
from motet_alignment.train.batches import Batches, Collator, only
from motet_alignment.train.estimates import Estimate, proportion, ratio
from motet_alignment.train.plan import Batch, Batching, Plan, ordered_batches
from motet_alignment.train.samples import Sample
from motet_alignment.train.trl_private import Quiet, on_device

Inputs = dict[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class Work:
    """Everything that decides a run's batches."""

    plan: Plan
    samples: Sequence[Sample]
    held_out: Sequence[Sample]
    batching: Batching
    pad: int
    process: int = 0


@dataclass(slots=True)
class Tally:
    """What evaluation adds up over samples: the loss and, where there is one, who was right."""

    losses: list[float] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    right: int = 0
    compared: int = 0

    def metrics(self) -> dict[str, Estimate]:
        """The loss and the share of comparisons that came out right, with intervals."""
        found = {"loss": ratio(self.losses, self.weights)}
        if self.compared:
            found["accuracy"] = proportion(self.right, self.compared)
        return found


class PlannedTrainer(Quiet):
    """Mixed in before a TRL trainer: it takes its batches from a plan and divides its loss by the whole step's weight.

    A trainer says with `weigh` what a sample counts, with `losses` what a batch costs, and with `judge` how held-out
    samples fare. The division by the step's totals makes accumulation and several processes exact: gradients are those
    of one batch that holds all of the step's samples.
    """

    # Documented by transformers' Trainer.compute_loss: the loss comes divided by the whole step's weight.
    loss_is_scaled_for_ga = True
    work: Work
    control: Any

    def __init__(self, *args: Any, work: Work, **kwargs: Any) -> None:
        self.work = work
        self._meters: dict[str, list[float]] = defaultdict(list)
        super().__init__(*args, **kwargs)

    def weigh(self, sample: Sample) -> tuple[float, ...]:
        """What the sample adds to the totals that a step's loss is divided by."""
        raise NotImplementedError

    def losses(self, model: Any, inputs: Inputs) -> torch.Tensor:
        """The batch's share of the step's loss; `inputs["totals"]` holds the step's weights."""
        raise NotImplementedError

    def judge(self, model: Any, inputs: Inputs, tally: Tally) -> None:
        """Adds a batch of held-out samples to the tally, a loss and a weight each."""
        raise NotImplementedError

    def meter(self, name: str, value: float) -> None:
        """Notes a figure of this batch; logs show its mean."""
        self._meters[name].append(value)

    def get_train_dataloader(self) -> DataLoader[Any]:
        """This process's batches of the whole run, in the plan's order."""
        plan = self.work.plan
        totals: list[tuple[float, ...]] = []
        for number, of_step in enumerate(self.step_totals()):
            mine = range(self.work.process, len(plan.step(number)), plan.processes)
            totals += [of_step] * len(mine)
        return self._loader(plan.of(self.work.process), self.work.samples, totals)

    def step_totals(self) -> list[tuple[float, ...]]:
        """What each step's loss is divided by: the weights of all its samples, on whatever process."""
        plan = self.work.plan
        totals: list[tuple[float, ...]] = []
        for number in range(plan.steps):
            places = [place for batch in plan.step(number) for row in batch for place in row]
            weights = [self.weigh(self.work.samples[place]) for place in places]
            totals.append(tuple(map(sum, zip(*weights, strict=True))))
        return totals

    def held_out_batches(self, samples: Sequence[Sample]) -> DataLoader[Any]:
        """Held-out samples, every process the same."""
        lengths = [sample.longest * len(sample.texts) for sample in samples]
        batches = ordered_batches(lengths, self.work.batching)
        return self._loader(batches, samples, [(1.0,)] * len(batches))

    def _loader(
        self, batches: Sequence[Batch], samples: Sequence[Sample], totals: Sequence[tuple[float, ...]]
    ) -> DataLoader[Any]:
        # Not handed to accelerate, which would deal the batches out a second time.
        return DataLoader(
            Batches(batches, samples, Collator(self.work.pad), totals), batch_size=1, collate_fn=only
        )

    def compute_loss(
        self, model: Any, inputs: Inputs, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """The batch's share of the step's mean loss, times the processes that DDP will take the mean over."""
        return self.losses(model, inputs) * self.accelerator.num_processes

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """One batch's loss and gradients; raises TrainError where the loss is no number any more."""
        loss: torch.Tensor = super().training_step(*args, **kwargs)
        if not torch.isfinite(loss):
            raise TrainError(
                f"the loss of step {self.state.global_step + 1} is {loss.item()}; the last good checkpoint is kept. "
                "Lower --learning-rate, or raise --warm-up, and look at the data of odd scores and lengths"
            )
        return loss

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Held-out metrics; logged and handed to callbacks as transformers' own are."""
        measured = self.measure(self.work.held_out)
        metrics = {f"eval_{name}": estimate.value for name, estimate in measured.items()}
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def measure(self, samples: Sequence[Sample]) -> dict[str, Estimate]:
        """Loss and accuracy on samples, with intervals."""
        tally = Tally()
        model = self.model
        was_training = model.training
        model.eval()
        try:
            for batch in self.held_out_batches(samples):
                with torch.no_grad(), self.accelerator.autocast():
                    self.judge(model, on_device(self, batch), tally)
        finally:
            model.train(was_training)
        return tally.metrics()

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds the meters to what is logged of training."""
        if "loss" in logs:
            logs.update({name: sum(values) / len(values) for name, values in self._meters.items()})
            self._meters.clear()
        super().log(logs, start_time)


def scored_batches(
    trainer: PlannedTrainer, samples: Sequence[Sample], score: Callable[[Inputs], torch.Tensor]
) -> list[tuple[float, ...]]:
    """For each sample what `score` says of its texts; `score` gives a number a row."""
    lengths = [sample.longest * len(sample.texts) for sample in samples]
    found: dict[int, tuple[float, ...]] = {}
    for batch in ordered_batches(lengths, trainer.work.batching):
        inputs = on_device(trainer, Collator(trainer.work.pad)(batch, samples))
        with torch.no_grad(), trainer.accelerator.autocast():
            values = score(inputs).float().tolist()
        begin = 0
        for (place,) in batch:
            end = begin + len(samples[place].texts)
            found[place] = tuple(values[begin:end])
            begin = end
    return [found[place] for place in range(len(samples))]


def arguments(config: type, settings: Any, place: Any, plan: Plan, folder: Any, **more: Any) -> Any:
    """TRL's configuration of a run: ours in its words, everything that calls home or guesses switched off."""
    steps = plan.steps
    evaluating: Mapping[str, Any] = (
        {"eval_strategy": "steps", "eval_steps": settings.eval_every or max(1, -(-steps // 5))}
        if more.pop("evaluating")
        else {"eval_strategy": "no"}
    )
    return config(
        output_dir=str(folder),
        max_steps=steps,
        gradient_accumulation_steps=plan.accumulation,
        per_device_train_batch_size=1,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="constant_with_warmup" if settings.schedule == "constant" else settings.schedule,
        warmup_steps=round(settings.warm_up * steps),
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.clip,
        seed=settings.seed,
        bf16=place.precision == "bf16",
        use_cpu=place.device == "cpu",
        logging_strategy="steps",
        logging_steps=settings.log_every or max(1, min(10, steps // 50)),
        logging_first_step=True,
        logging_nan_inf_filter=False,
        save_strategy="steps",
        save_steps=settings.save_every or max(20, -(-steps // 10)),
        save_total_limit=2,
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
        remove_unused_columns=False,
        gradient_checkpointing=more.pop("gradient_checkpointing"),
        ddp_find_unused_parameters=False,
        **evaluating,
        **more,
    )


__all__ = ["Inputs", "PlannedTrainer", "Tally", "Work", "arguments", "scored_batches"]
