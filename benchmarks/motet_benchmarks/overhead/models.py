"""The pair in this process, in plain transformers: for the loop, and for what the models themselves cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self

from motet_benchmarks.errors import BenchmarkError

if TYPE_CHECKING:
    import torch


class Forward(Protocol):
    """Times `steps` decode steps of a batch of prompts in each model."""

    def __call__(self, prompts: Sequence[str], steps: int) -> tuple[float, float]:
        """Seconds in the expert and in the amateur."""
        ...


@dataclass(frozen=True)
class Models:
    """Expert, amateur and their tokenizer; on a GPU where there is one."""

    tokenizer: Any
    expert: Any
    amateur: Any

    @classmethod
    def load(cls, expert: str, amateur: str, dtype: str = "float32") -> Self:
        """From two folders or hub names. Raises BenchmarkError if they can't be loaded or don't fit together."""
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils import logging

        logging.disable_progress_bar()
        device = "cuda" if torch.cuda.is_available() else "cpu"

        def model(name: str) -> Any:
            loaded = AutoModelForCausalLM.from_pretrained(name, dtype=dtype, use_safetensors=True)
            # Speed is compared over answers of a fixed length.
            loaded.generation_config.eos_token_id = None
            return loaded.to(device).eval()

        try:
            tokenizer: Any = AutoTokenizer.from_pretrained(expert, padding_side="left")
            large, small = model(expert), model(amateur)
        except (OSError, ValueError) as problem:
            first = str(problem).strip().splitlines()[0]
            raise BenchmarkError(
                f"transformers can't load the models: {first}; --no-loop does without"
            ) from None
        if large.config.vocab_size != small.config.vocab_size:
            raise BenchmarkError(
                f"the transformers loop needs logits of one width, not {large.config.vocab_size} and "
                f"{small.config.vocab_size}; leave it out with --no-loop"
            )
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token_id = tokenizer.eos_token_id or 0
        return cls(tokenizer, large, small)

    def padded(self, prompts: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Token ids and attention mask, both [prompts, longest], padded on the left."""
        inputs = self.tokenizer(list(prompts), padding=True, return_tensors="pt").to(self.expert.device)
        return inputs["input_ids"], inputs["attention_mask"]

    def decode(
        self, prompts: Sequence[str], steps: int, clock: Callable[[], float] = time.perf_counter
    ) -> tuple[float, float]:
        """Seconds that `steps` forward passes of one new token a prompt take, in the expert and in the amateur.

        The prompts are in the models' caches before the clock runs. The two take turns step by step, so that whatever
        else happens on the machine falls on both.
        """
        import torch

        ids, mask = self.padded(prompts)
        voices = (self.expert, self.amateur)

        def finish() -> None:
            if ids.device.type == "cuda":
                torch.cuda.synchronize()

        spent = [0.0, 0.0]
        with torch.inference_mode():
            caches = [voice(ids, attention_mask=mask, use_cache=True).past_key_values for voice in voices]
            finish()
            for _ in range(steps):
                mask = torch.nn.functional.pad(mask, (0, 1), value=1)
                for place, voice in enumerate(voices):
                    begun = clock()
                    # Which token it is makes no difference to the time.
                    voice(ids[:, -1:], attention_mask=mask, past_key_values=caches[place], use_cache=True)
                    finish()
                    spent[place] += clock() - begun
        return spent[0], spent[1]
