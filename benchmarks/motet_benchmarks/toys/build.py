"""From a recipe to two model folders."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import GenerationConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from motet_benchmarks.toys.corpus import conversations, words_in_use
from motet_benchmarks.toys.pretrain import new_model, pretrain
from motet_benchmarks.toys.rows import Batch, Encoder, batches
from motet_benchmarks.toys.settings import Corpus, Recipe, Size, Training
from motet_benchmarks.toys.tokenizer import build_tokenizer


@dataclass(frozen=True, slots=True)
class Made:
    """How one model came about."""

    parameters: int
    tokens: int
    """Tokens of text it was trained on, filling left out."""
    minutes: float
    threads: int
    loss: float
    """Mean of the last hundred steps, in nats."""


def make_tokenizer(recipe: Recipe) -> PreTrainedTokenizerFast:
    """The tokenizer that both models of the recipe share."""
    return build_tokenizer(words_in_use(), recipe.vocabulary, recipe.expert_size.context)


def build(recipe: Recipe, folder: Path) -> dict[str, Made]:
    """Train both models and leave them in `folder`/amateur and `folder`/expert, the quick one first."""
    tokenizer = make_tokenizer(recipe)
    made = {}
    for name, size, training, corpus in (
        ("amateur", recipe.amateur_size, recipe.amateur, recipe.amateur_corpus),
        ("expert", recipe.expert_size, recipe.expert, recipe.expert_corpus),
    ):
        model, made[name] = make(size, training, corpus, tokenizer, name)
        save(model, tokenizer, folder / name)
    return made


def make(
    size: Size, training: Training, corpus: Corpus, tokenizer: PreTrainedTokenizerFast, title: str
) -> tuple[LlamaForCausalLM, Made]:
    """Train one model from fresh weights."""
    model = new_model(size, tokenizer, training.seed)
    tokens = 0

    def counted() -> Iterator[Batch]:
        nonlocal tokens
        for batch in batches(
            conversations(corpus, training.seed),
            Encoder(tokenizer),
            rows=training.rows,
            row=corpus.row,
            prompt_weight=training.prompt_weight,
        ):
            tokens += batch.tokens
            yield batch

    began = time.monotonic()
    losses = pretrain(model, counted(), training, title=title)
    last = losses[-100:]
    return model, Made(
        parameters=model.num_parameters(),
        tokens=tokens,
        minutes=(time.monotonic() - began) / 60,
        threads=torch.get_num_threads(),
        loss=sum(last) / len(last),
    )


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write model and tokenizer beside `folder` and put them in its place.

    The weights are rounded to what bfloat16 can hold but stored as float32: either type serves the same weights,
    and they compress to half.
    """
    beside = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(beside, ignore_errors=True)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(weight.to(torch.bfloat16))
    model.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    model.save_pretrained(beside)
    tokenizer.save_pretrained(beside)
    # safetensors leaves its files to the owner alone, and an installed package is read by others.
    for path in beside.iterdir():
        path.chmod(0o644)
    before = folder.with_name(f".{folder.name}.old")
    if folder.exists():
        folder.rename(before)
    beside.rename(folder)
    shutil.rmtree(before, ignore_errors=True)
