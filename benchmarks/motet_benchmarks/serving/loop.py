"""What the server is measured against: contrast in transformers' `generate`, one static batch after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.serving.timing import Timing
from motet_benchmarks.serving.workload import Order
from motet_decoding.contrast import Contrast


class Loop(Protocol):
    """Answers a batch of prompts together, each with exactly `tokens` tokens."""

    def __call__(self, prompts: Sequence[str], tokens: int) -> list[str]:
        """The answers' texts."""
        ...


class TransformersLoop:
    """Greedy `generate` with the amateur beside it, prompts padded on the left; on a GPU where there is one.

    Raises BenchmarkError if a model can't be loaded or the two don't fit together.
    """

    def __init__(self, expert: str, amateur: str, contrast: Contrast, dtype: str = "float32") -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils import logging

        logging.disable_progress_bar()
        device = "cuda" if torch.cuda.is_available() else "cpu"

        def load(name: str) -> Any:
            model = AutoModelForCausalLM.from_pretrained(name, dtype=dtype, use_safetensors=True)
            return model.to(device).eval()

        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(expert, padding_side="left")
            self._expert, self._amateur = load(expert), load(amateur)
        except (OSError, ValueError) as problem:
            first = str(problem).strip().splitlines()[0]
            raise BenchmarkError(f"the transformers loop can't load its models: {first}") from None
        if self._expert.config.vocab_size != self._amateur.config.vocab_size:
            raise BenchmarkError(
                f"the transformers loop needs logits of one width, not {self._expert.config.vocab_size} and "
                f"{self._amateur.config.vocab_size}; leave it out with --no-loop"
            )
        if self._tokenizer.pad_token_id is None:
            self._tokenizer.pad_token_id = self._tokenizer.eos_token_id or 0
        self._expert.generation_config.eos_token_id = None
        self._contrast = contrast

    def __call__(self, prompts: Sequence[str], tokens: int) -> list[str]:
        """The answers' texts, without special tokens."""
        import torch

        from motet_decoding.reference import AmateurVoice

        inputs = self._tokenizer(list(prompts), padding=True, return_tensors="pt").to(self._expert.device)
        inputs.pop("token_type_ids", None)
        voice = AmateurVoice(self._amateur, self._contrast, inputs["attention_mask"])
        with torch.inference_mode():
            whole = self._expert.generate(
                **inputs,
                do_sample=False,
                max_new_tokens=tokens,
                pad_token_id=self._tokenizer.pad_token_id,
                logits_processor=[voice],
            )
        generated = whole[:, inputs["input_ids"].shape[1] :]
        return list(self._tokenizer.batch_decode(generated, skip_special_tokens=True))


def closed_loop(loop: Loop, prompts: Sequence[str], *, batch: int, tokens: int) -> tuple[Timing, list[str]]:
    """Time `prompts` in batches of `batch` that begin and end together."""
    texts: list[str] = []
    waits: list[float] = []
    start = time.perf_counter()
    for first in range(0, len(prompts), batch):
        begun = time.perf_counter()
        texts += loop(prompts[first : first + batch], tokens)
        waits += [time.perf_counter() - begun] * len(prompts[first : first + batch])
    return Timing.of(time.perf_counter() - start, tokens * len(prompts), waits), texts


def static_batches(
    loop: Loop,
    orders: Sequence[Order],
    *,
    batch: int,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> Timing:
    """Time `orders` as a loop must serve them: whoever waits, up to `batch`, shares a batch until its longest ends.

    Only the tokens that were asked for count.
    """
    waiting = sorted(orders, key=lambda order: order.arrival)
    waits: list[float] = []
    start = clock()
    while waiting:
        now = clock() - start
        if waiting[0].arrival > now:
            sleep(waiting[0].arrival - now)
            now = clock() - start
        together = [order for order in waiting[:batch] if order.arrival <= now]
        if not together:
            continue
        loop([order.prompt for order in together], max(order.tokens for order in together))
        end = clock() - start
        waits += [end - order.arrival for order in together]
        waiting = waiting[len(together) :]
    return Timing.of(clock() - start, sum(order.tokens for order in orders), waits)
