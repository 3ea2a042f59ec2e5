"""vLLM's LoRA on a CPU, called as its layers call it: reaches into parts that its documentation does not promise.

Seen with vLLM 0.32.0. ``tests/benchmarks/adapters/test_vllm_private.py`` fails when one of them moves.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def punica() -> type[Any]:
    """The class that vLLM uses by itself; ours extends it."""
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU

    return PunicaWrapperCPU


def ready(kind: type[Any], adapters: Sequence[int]) -> Any:
    """One of `kind` that has been told the step's rows.

    Args:
        kind: vLLM's class or ours.
        adapters: of each row, the place of its adapter among the stacked matrices, from 0.
    """
    import torch
    from vllm.lora.layers import LoRAMapping

    slots = max(adapters) + 1
    # vLLM knows adapters by numbers of which 0 means none.
    rows = tuple(place + 1 for place in adapters)
    wrapper = kind(len(rows), max_batches=len(rows), device=torch.device("cpu"))
    wrapper.update_metadata(
        LoRAMapping(rows, rows, is_prefill=True), [place + 1 for place in range(slots)], slots + 1, 1000
    )
    return wrapper


def add(
    wrapper: Any, y: torch.Tensor, x: torch.Tensor, a: tuple[torch.Tensor, ...], b: tuple[torch.Tensor, ...]
) -> None:
    """Adds the adapters' products to `y` [rows, sum of widths], of `x` [rows, in].

    Each of `a` is [slots, 1, rank, in], each of `b` [slots, 1, width, rank].
    """
    wrapper.add_lora_linear(y, x, a, b, 1.0, tuple(each.shape[2] for each in b))
