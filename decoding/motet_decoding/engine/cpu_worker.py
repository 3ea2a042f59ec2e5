"""vLLM's CPU worker, mended where it would end the whole engine.

A prompt that is prefilled in several steps is sampled after each of them, and all draws but the last are thrown away.
vLLM then takes the request's seeded generator back by one draw, with an operation that only GPU generators have: on
a CPU one seeded request beside a long prompt would stop the server. Here such a request's generator stays out of
the draw that is thrown away, which leaves it where taking it back would.
"""

from __future__ import annotations

from typing import Any

from vllm.v1.worker.cpu_worker import CPUWorker as VllmCPUWorker

from motet_decoding.engine import vllm_private


class CPUWorker(VllmCPUWorker):
    """What ``worker_cls`` names on a CPU."""

    def sample_tokens(self, grammar_output: Any) -> Any:
        """Draws the step's tokens, [requests]; vLLM calls it after every forward pass."""
        with vllm_private.unfinished_prompts_undrawn(self.model_runner):
            return super().sample_tokens(grammar_output)
