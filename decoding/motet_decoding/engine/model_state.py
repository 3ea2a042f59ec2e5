"""The V2 runner's per-step hook: tells the stage which requests are about to run."""

from __future__ import annotations

from typing import Any

from vllm.v1.worker.gpu.model_states.default import DefaultModelState

from motet_decoding.engine.measuring import NO_ROWS
from motet_decoding.engine.stage import stage_of
from motet_decoding.engine.vllm_private import drawn_tokens


class AskingModelState(DefaultModelState):
    """vLLM's default inputs, preceded by a look at who is in the batch."""

    def prepare_inputs(self, input_batch: Any, req_states: Any) -> dict[str, Any]:
        """Called before every real forward pass with the slots of its requests."""
        stage, slots = stage_of(self.vllm_config), input_batch.idx_mapping_np.tolist()
        if stage.processor is not None:
            stage.processor.expect_slots(slots)
        if stage.scoring is not None:
            stage.scoring.expect_slots(slots, drawn_tokens(input_batch, req_states))
        inputs: dict[str, Any] = super().prepare_inputs(input_batch, req_states)
        return inputs

    def prepare_dummy_inputs(self, num_reqs: int, num_tokens: int) -> dict[str, Any]:
        """Called before graphs are captured: with all voices, and with nothing scored or measured."""
        stage = stage_of(self.vllm_config)
        stage.asking, stage.wanted_layers, stage.rows = True, stage.layers, NO_ROWS
        inputs: dict[str, Any] = super().prepare_dummy_inputs(num_reqs, num_tokens)
        return inputs
