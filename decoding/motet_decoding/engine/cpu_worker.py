"""vLLM's CPU worker, mended in two places where it would end the whole engine.

A prompt that is prefilled in several steps is sampled after each of them, and all draws but the last are thrown away.
vLLM then takes the request's seeded generator back by one draw, with an operation that only GPU generators have: on
a CPU one seeded request beside a long prompt would stop the server. Here such a request's generator stays out of
the draw that is thrown away, which leaves it where taking it back would.

Log-probabilities of a prompt are computed from its rows alone, by a head that takes them for the step's sampled rows:
with adapters in the step it would add theirs to the wrong rows, or to rows that aren't there. Here it is told whose
they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from vllm.v1.worker.cpu_worker import CPUWorker as VllmCPUWorker

from motet_decoding.engine import vllm_private
from motet_decoding.engine.cpu_lora import GroupedLora


class CPUWorker(VllmCPUWorker):
    """What ``worker_cls`` names on a CPU."""

    def load_model(self, **options: Any) -> None:
        """Loads the model, and learns where its adapters are multiplied."""
        super().load_model(**options)
        wrappers = {
            id(wrapper): wrapper
            for module in self.model_runner.model.modules()
            if isinstance(wrapper := getattr(module, "punica_wrapper", None), GroupedLora)
        }

        @contextmanager
        def alone(adapter: int) -> Iterator[None]:
            with ExitStack() as stack:
                for wrapper in wrappers.values():
                    stack.enter_context(wrapper.prompt_of(adapter))
                yield

        if wrappers:
            vllm_private.prompts_one_by_one(self.model_runner, alone)

    def sample_tokens(self, grammar_output: Any) -> Any:
        """Draws the step's tokens, [requests]; vLLM calls it after every forward pass."""
        with vllm_private.unfinished_prompts_undrawn(self.model_runner):
            return super().sample_tokens(grammar_output)
