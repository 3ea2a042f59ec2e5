"""The few private hooks of TRL 1.16 and transformers 5.19 that the trainers rely on, and nothing else of them.

TRL's trainers prepare their own data sets and its reward and DPO trainers take no tokens as they are; they tell
Hugging Face about each training; and transformers writes a model card and the arguments' pickle beside a checkpoint.
"""

from __future__ import annotations

from typing import Any

from transformers import Trainer


class Quiet(Trainer):
    """Mixed in before a TRL trainer: data comes as it is, and nothing is told or written but weights and states."""

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        return dataset

    def _send_telemetry(self) -> None:
        pass

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Writes none: checkpoints are for resuming, and the store tells of an adapter."""


def drop_reference(model: Any) -> None:
    """Removes the frozen copy that TRL's DPO trainer makes of the adapter: its log-probabilities are known already."""
    if "ref" in model.peft_config:
        model.delete_adapter("ref")


def on_device(trainer: Any, inputs: dict[str, Any]) -> dict[str, Any]:
    """`inputs` where the trainer computes."""
    return trainer._prepare_inputs(inputs)
