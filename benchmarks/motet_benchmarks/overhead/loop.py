"""What the server is measured against: contrast in transformers' `generate`, one static batch after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from motet_benchmarks.overhead.models import Models
from motet_benchmarks.overhead.timing import Timing
from motet_benchmarks.overhead.workload import Order
from motet_decoding.contrast import Contrast


class Loop(Protocol):
    """Answers a batch of prompts together, each with exactly `tokens` tokens."""

    def __call__(self, prompts: Sequence[str], tokens: int) -> list[str]:
        """The answers' texts."""
        ...


class TransformersLoop:
    """Greedy `generate` with the amateur beside it."""

    def __init__(self, models: Models, contrast: Contrast) -> None:
        self._models, self._contrast = models, contrast

    def __call__(self, prompts: Sequence[str], tokens: int) -> list[str]:
        """The answers' texts, without special tokens."""
        import torch

        from motet_decoding.reference import AmateurVoice

        tokenizer = self._models.tokenizer
        ids, mask = self._models.padded(prompts)
        voice = AmateurVoice(self._models.amateur, self._contrast, mask)
        with torch.inference_mode():
            whole = self._models.expert.generate(
                input_ids=ids,
                attention_mask=mask,
                do_sample=False,
                max_new_tokens=tokens,
                pad_token_id=tokenizer.pad_token_id,
                logits_processor=[voice],
            )
        return list(tokenizer.batch_decode(whole[:, ids.shape[1] :], skip_special_tokens=True))


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
