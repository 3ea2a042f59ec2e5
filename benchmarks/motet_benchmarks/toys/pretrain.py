"""Pretraining of one bundled model, on whatever device is there."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator

import torch
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from motet_benchmarks.toys.rows import Batch
from motet_benchmarks.toys.settings import Size, Training

# Where nobody watches the bar, a line every so many steps.
LINES = 100


def new_model(size: Size, tokenizer: PreTrainedTokenizerFast, seed: int) -> LlamaForCausalLM:
    """A Llama of this size with fresh weights; the same seed gives the same weights."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=size.hidden,
        intermediate_size=size.intermediate,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.heads,
        head_dim=size.head_size,
        max_position_embeddings=size.context,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        dtype="float32",
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)


def why_uncompiled() -> str:
    """Why torch.compile doesn't work here; empty if it does. Takes seconds."""
    try:
        torch.compile(functional.silu)(torch.ones(8, device=_device()))
    except RuntimeError as problem:
        return str(problem).strip().partition("\n")[0]
    return ""


def pretrain(
    model: LlamaForCausalLM,
    batches: Iterator[Batch],
    training: Training,
    *,
    title: str = "pretraining",
    after: Callable[[int], None] = lambda step: None,
) -> list[float]:
    """Train `model` in place and leave it in evaluation mode on the CPU; returns each step's loss.

    `after` is called with the number of steps done after each of them. Raises ArithmeticError if the loss is no
    longer finite.
    """
    device = _device()
    model.to(device).train()
    voice = torch.compile(model) if training.compiled else model
    optimizers = _optimizers(model, training)
    losses: list[float] = []
    tokens = 0
    began = time.monotonic()
    with _progress() as progress:
        task = progress.add_task(title, total=training.steps, loss=math.nan, speed=0.0)
        for step, batch in zip(range(1, training.steps + 1), batches, strict=False):
            with torch.autocast(device.type, torch.bfloat16):
                logits = voice(
                    input_ids=batch.ids.to(device), position_ids=batch.positions.to(device), use_cache=False
                ).logits
            loss = _loss(logits, batch.ids.to(device), batch.weights.to(device))
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), training.clip)
            for optimizer in optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = training.rate * _rate(step - 1, training)
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            losses.append(loss.item())
            if not math.isfinite(losses[-1]):
                raise ArithmeticError(f"{title}: the loss of step {step} is {losses[-1]}")
            tokens += batch.tokens
            speed = tokens / (time.monotonic() - began)
            recent = sum(losses[-50:]) / len(losses[-50:])
            progress.update(task, advance=1, loss=recent, speed=speed)
            if not progress.console.is_terminal and step % LINES == 0:
                progress.console.print(
                    f"{title}: {step:,} of {training.steps:,} steps, loss {recent:.3f}, {speed:,.0f} tokens/s"
                )
            after(step)
    model.to("cpu").eval()
    return losses


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _loss(
    logits: torch.Tensor,  # [rows, row, vocabulary]
    ids: torch.Tensor,  # [rows, row]
    weights: torch.Tensor,  # [rows, row]
) -> torch.Tensor:
    """Weighted mean of the cross-entropy of every token given those before it, in nats."""
    each = functional.cross_entropy(
        logits[:, :-1].float().flatten(0, 1), ids[:, 1:].flatten(), reduction="none"
    )
    flat = weights[:, 1:].flatten()
    return (each * flat).sum() / flat.sum()


def _optimizers(model: LlamaForCausalLM, training: Training) -> list[torch.optim.Optimizer]:
    """Muon for the layers' matrices, AdamW for the embeddings and norms.

    Muon needs about a third fewer steps to the same loss here than AdamW for everything.
    """
    inner = [weight for weight in model.model.layers.parameters() if weight.ndim == 2]
    known = {id(weight) for weight in inner}
    outer = [weight for weight in model.parameters() if id(weight) not in known]
    return [
        torch.optim.Muon(
            inner, lr=training.rate, weight_decay=training.decay, adjust_lr_fn="match_rms_adamw"
        ),
        torch.optim.AdamW(outer, lr=training.rate, betas=(0.9, 0.98), weight_decay=0.0, fused=True),
    ]


def _rate(step: int, training: Training) -> float:
    """The part of the learning rate that step number `step`, from 0, takes."""
    up = (step + 1) / max(1, training.warmup)
    down = (training.steps - step) / max(1, training.cooldown)
    return max(0.0, min(1.0, up, down))


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.3f}"),
        TextColumn("{task.fields[speed]:,.0f} tokens/s"),
        TimeRemainingColumn(),
    )
