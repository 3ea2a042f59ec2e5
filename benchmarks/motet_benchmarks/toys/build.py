"""From a recipe to two model folders."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from transformers import GenerationConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from motet_benchmarks.files import replace_folder
from motet_benchmarks.toys.corpus import conversations, words_in_use
from motet_benchmarks.toys.pretrain import new_model, pretrain, why_uncompiled
from motet_benchmarks.toys.record import Made, Record, digest
from motet_benchmarks.toys.rows import Batch, Encoder, batches
from motet_benchmarks.toys.settings import Corpus, Recipe, Size, Training
from motet_benchmarks.toys.shares import SHARES
from motet_benchmarks.toys.tokenizer import build_tokenizer


def make_tokenizer(recipe: Recipe) -> PreTrainedTokenizerFast:
    """The tokenizer that both models of the recipe share."""
    return build_tokenizer(words_in_use(), recipe.vocabulary, recipe.expert_size.context)


def build(recipe: Recipe, folder: Path, say: Callable[[str], None]) -> Record:
    """Train both models, the quick one first, and leave them in `folder`/amateur and `folder`/expert.

    Until both are trained they wait beside `folder`, and what stood in their places stays there. `say` is told of
    what can't be done as the recipe says; the record has it as it was done.
    """
    recipe = _possible(recipe, say)
    tokenizer = make_tokenizer(recipe)
    folder = folder.resolve()
    beside = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(beside, ignore_errors=True)
    made: dict[str, Made] = {}
    for name, size, training, corpus in (
        ("amateur", recipe.amateur_size, recipe.amateur, recipe.amateur_corpus),
        ("expert", recipe.expert_size, recipe.expert, recipe.expert_corpus),
    ):
        made[name] = make(size, training, corpus, tokenizer, beside / name)
    for name in made:
        replace_folder(beside / name, folder / name)
    beside.rmdir()
    return Record(recipe, dict(SHARES), torch.__version__, made)


def make(
    size: Size, training: Training, corpus: Corpus, tokenizer: PreTrainedTokenizerFast, folder: Path
) -> Made:
    """Train one model from fresh weights and save it in `folder`, whose name it goes by."""
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
    losses = pretrain(model, counted(), training, title=folder.name)
    minutes = (time.monotonic() - began) / 60
    save(model, tokenizer, folder)
    last = losses[-100:]
    return Made(
        parameters=model.num_parameters(),
        tokens=tokens,
        minutes=minutes,
        threads=torch.get_num_threads(),
        loss=sum(last) / len(last),
        sha256=digest(folder),
    )


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write model and tokenizer into `folder`.

    The weights are rounded to what bfloat16 can hold but stored as float32: either type serves the same weights,
    and they compress to half.
    """
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(weight.to(torch.bfloat16))
    model.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    # safetensors leaves its files to the owner alone, and an installed package is read by others.
    for path in folder.iterdir():
        path.chmod(0o644)


def _possible(recipe: Recipe, say: Callable[[str], None]) -> Recipe:
    """The recipe as far as it can be followed here."""
    if not (recipe.expert.compiled or recipe.amateur.compiled) or not (problem := why_uncompiled()):
        return recipe
    say(f"training without torch.compile, slower and with other rounding: {problem}")
    return dataclasses.replace(
        recipe,
        expert=dataclasses.replace(recipe.expert, compiled=False),
        amateur=dataclasses.replace(recipe.amateur, compiled=False),
    )
