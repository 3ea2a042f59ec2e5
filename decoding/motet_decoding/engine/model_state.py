"""The V2 runner's per-step hook: tells the stage which requests are about to run."""

from __future__ import annotations

from typing import Any

from vllm.v1.worker.gpu.model_states.default import DefaultModelState

from motet_decoding.engine.processor import ContrastProcessor
from motet_decoding.engine.stage import stage_of


class PairedModelState(DefaultModelState):
    """vLLM's default inputs, preceded by a look at who is in the batch."""

    def prepare_inputs(self, input_batch: Any, req_states: Any) -> dict[str, Any]:
        """Called before every real forward pass with the slots of its requests."""
        processor = stage_of(self.vllm_config).processor
        if isinstance(processor, ContrastProcessor):
            processor.expect_slots(input_batch.idx_mapping_np.tolist())
        inputs: dict[str, Any] = super().prepare_inputs(input_batch, req_states)
        return inputs

    def prepare_dummy_inputs(self, num_reqs: int, num_tokens: int) -> dict[str, Any]:
        """Called before graphs are captured, which must be captured with both voices."""
        stage_of(self.vllm_config).asking = True
        inputs: dict[str, Any] = super().prepare_dummy_inputs(num_reqs, num_tokens)
        return inputs
