"""What is seen of a training while it runs: a bar, lines of metrics, TensorBoard, a plot."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from transformers import TrainerCallback

from motet_alignment.errors import TrainError
from motet_alignment.train.checkpoints import seal
from motet_alignment.train.plot import draw
from motet_alignment.train.record import Metrics, seconds_text
from motet_alignment.train.trainer import Work

# What transformers reports and nobody here asks for.
_UNASKED = {"epoch", "total_flos", "train_loss", "train_runtime", "train_steps_per_second", "num_tokens"}
_UNASKED |= {"train_samples_per_second"}


class Record(TrainerCallback):
    """A line of JSON for each log into metrics.jsonl, the same figures to TensorBoard, and the plot."""

    def __init__(self, folder: Path, work: Work, title: str, begin: int) -> None:
        """Continues after step `begin`; later lines, of a run that was killed, are dropped."""
        self._folder, self._work, self._title = folder, work, title
        self._metrics = Metrics(folder, "step", begin)
        self._epoch = _passes(work)
        self._since = (time.monotonic(), begin)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Writes one line."""
        figures = {
            key: value
            for key, value in (logs or {}).items()
            if key not in _UNASKED and isinstance(value, int | float) and math.isfinite(value)
        }
        if not figures:
            return
        line: dict[str, Any] = {"step": state.global_step, "epoch": self._epoch[state.global_step]}
        if "loss" in figures:
            line |= self._speed(state.global_step)
        self._metrics.write(line | figures)
        self._metrics.scalars(state.global_step, figures)

    def _speed(self, step: int) -> dict[str, float]:
        before, last = self._since
        now = time.monotonic()
        self._since = (now, step)
        seconds = max(now - before, 1e-9)
        counts = [amounts(self._work, number) for number in range(last, step)]
        return {
            "tokens_per_second": round(sum(tokens for _, tokens in counts) / seconds, 1),
            "examples_per_second": round(sum(examples for examples, _ in counts) / seconds, 2),
        }

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Draws the plot anew."""
        self.draw()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Writes everything out."""
        self._metrics.close()
        self.draw()

    def draw(self) -> None:
        """loss.svg and loss.png from all lines so far."""
        draw(self._metrics.lines, self._folder, self._title)


class Seal(TrainerCallback):
    """Declares each checkpoint whole once all of it is written, by every process."""

    def on_save(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Seals it. Raises TrainError where its weights are no numbers any more."""
        if torch.distributed.is_initialized():
            torch.distributed.barrier()
        if not all(bool(weight.isfinite().all()) for weight in model.parameters() if weight.requires_grad):
            raise TrainError(
                f"after step {state.global_step} weights are no numbers; the last good checkpoint is kept. "
                "Lower --learning-rate, or raise --warm-up"
            )
        if state.is_world_process_zero:
            seal(Path(args.output_dir) / f"checkpoint-{state.global_step}")


class Bar(TrainerCallback):
    """A progress bar with loss, rate and time left; where nobody watches, a line at every log."""

    def __init__(self, work: Work, title: str, begin: int, console: Console) -> None:
        self._work, self._title, self._begin, self._console = work, title, begin, console
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]}"),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task(title, total=work.plan.steps, completed=begin, loss="-", rate="")
        self._loss = "-"
        self._examples = self._tokens = 0
        self._began = time.monotonic()

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Shows the bar."""
        self._began = time.monotonic()
        self._progress.start()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Moves the bar."""
        examples, tokens = amounts(self._work, state.global_step - 1)
        self._examples += examples
        self._tokens += tokens
        self._progress.update(self._task, completed=state.global_step, rate=self._rate())

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Shows the loss."""
        logs = logs or {}
        if "loss" in logs:
            self._loss = f"{logs['loss']:.4f}"
            self._progress.update(self._task, loss=self._loss)
            if not self._console.is_terminal:
                total = self._work.plan.steps
                self._console.print(
                    f"{self._title}: {state.global_step:,} of {total:,} steps, loss {self._loss}, {self._rate()}, "
                    f"{self._left(state.global_step)} left",
                    soft_wrap=True,
                )
        elif "eval_loss" in logs:
            accuracy = f", accuracy {logs['eval_accuracy']:.1%}" if "eval_accuracy" in logs else ""
            self._progress.console.print(
                f"{self._title}: step {state.global_step:,}, held-out loss {logs['eval_loss']:.4f}{accuracy}",
                soft_wrap=True,
            )

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Takes the bar away."""
        self.close()

    def close(self) -> None:
        """Takes the bar away, also after an error."""
        self._progress.stop()

    def _rate(self) -> str:
        seconds = max(time.monotonic() - self._began, 1e-9)
        return f"{self._examples / seconds:,.1f} examples/s, {self._tokens / seconds:,.0f} tokens/s"

    def _left(self, step: int) -> str:
        done = max(step - self._begin, 1)
        seconds = (time.monotonic() - self._began) / done * (self._work.plan.steps - step)
        return seconds_text(seconds)


def amounts(work: Work, step: int) -> tuple[int, int]:
    """Examples and their tokens, padding not counted, that all processes take in step `step`, from 0."""
    samples = [work.samples[place] for batch in work.plan.step(step) for row in batch for place in row]
    return len(samples), sum(sample.tokens for sample in samples)


def _passes(work: Work) -> list[float]:
    """How often the data has been gone through after each number of steps."""
    seen, found = 0, [0.0]
    for step in range(work.plan.steps):
        seen += amounts(work, step)[0]
        found.append(round(seen / len(work.samples), 4))
    return found
