"""LoRA on a CPU: the adapters' own matrix products, and nothing at all for rows without an adapter.

vLLM's CPU code picks the slot of every token by an index, and writes -1 where there is no adapter: PyTorch then takes
the *last* slot, so that such rows get whatever adapter stands there. It also copies both matrices of its adapter for
every single token. Here a step's tokens are grouped by slot once, and each group is multiplied with its matrices:

    y[rows] += (x[rows] Aᵀ) Bᵀ        (LoRA, arXiv 2106.09685; the scale is already in B)

Tokens of one request stand together, so a group is often a slice, and then nothing is copied but the result.
Extends a class of vLLM's that its documentation does not promise; seen with vLLM 0.32.0.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU

#: Rows of a batch that share a slot: their places, as a slice where they stand together.
Group = tuple[int, "slice | torch.Tensor"]


def groups_of(slots: torch.Tensor) -> list[Group]:
    """The rows of each slot in use, in order of the slots.

    Args:
        slots: the slot of each row, int64 [rows]; -1 for a row without an adapter.
    """
    groups: list[Group] = []
    for slot in torch.unique(slots).tolist():
        if slot < 0:
            continue
        rows = (slots == slot).nonzero().flatten()
        first, last = int(rows[0]), int(rows[-1])
        together = last - first + 1 == len(rows)
        groups.append((slot, slice(first, last + 1) if together else rows))
    return groups


class GroupedLora(PunicaWrapperCPU):
    """What vLLM's LoRA layers call on a CPU instead of its own ``PunicaWrapperCPU``."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        #: By token, for the layers; by sampled row, for the head.
        self.token_groups: list[Group] = []
        self.sampled_groups: list[Group] = []
        #: By vLLM's number of an adapter.
        self._slots: dict[int, int] = {}

    @contextmanager
    def prompt_of(self, adapter: int) -> Iterator[None]:
        """Meanwhile the head sees rows of one prompt, not the sampled ones; ``adapter`` is 0 where it has none."""
        sampled = self.sampled_groups
        self.sampled_groups = [(self._slots[adapter], slice(None))] if adapter else []
        try:
            yield
        finally:
            self.sampled_groups = sampled

    def update_metadata(
        self, mapping: Any, lora_index_to_id: list[int | None], *arguments: Any, **options: Any
    ) -> None:
        """Called when the batch or the slots have changed, before the forward pass."""
        super().update_metadata(mapping, lora_index_to_id, *arguments, **options)
        self._slots = {number: slot for slot, number in enumerate(lora_index_to_id) if number is not None}
        self.token_groups = groups_of(self.token_lora_indices)
        self.sampled_groups = groups_of(self.sampler_indices)

    def add_lora_linear(
        self,
        y: torch.Tensor,
        x: torch.Tensor,
        lora_a_stacked: tuple[torch.Tensor, ...],
        lora_b_stacked: tuple[torch.Tensor, ...],
        scale: float,
        output_slices: tuple[int, ...],
        **options: Any,
    ) -> None:
        """Adds every token's adapter to a linear layer's output.

        Args:
            y: the layer's output, [tokens, sum of output_slices]; changed in place.
            x: its input, [tokens, in].
            lora_a_stacked: of each slice, [slots, 1, rank, in].
            lora_b_stacked: of each slice, [slots, 1, out, rank].
            scale: times the product.
            output_slices: the widths of the slices of ``y``, such as those of q, k and v.
            options: vLLM's buffers for kernels that need them.
        """
        _check_options(options)
        if not self.token_groups:
            return
        y, x = y.view(-1, y.shape[-1]), x.view(-1, x.shape[-1])
        for slot, rows in self.token_groups:
            offset = 0
            for a, b, width in zip(lora_a_stacked, lora_b_stacked, output_slices, strict=True):
                _add(y[:, offset : offset + width], x, a[slot, 0], b[slot, 0], scale, rows)
                offset += width

    def add_lora_logits(
        self,
        y: torch.Tensor,
        x: torch.Tensor,
        lora_a_stacked: torch.Tensor,
        lora_b_stacked: torch.Tensor,
        scale: float,
        **options: Any,
    ) -> None:
        """The same for the head: ``y`` [sampled rows, vocab] in place, ``x`` [sampled rows, hidden]."""
        _check_options(options)
        y, x = y.view(-1, y.shape[-1]), x.view(-1, x.shape[-1])
        for slot, rows in self.sampled_groups:
            b = lora_b_stacked[slot, 0]
            # Model and adapter may pad the vocabulary differently.
            width = min(y.shape[1], len(b))
            _add(y[:, :width], x, lora_a_stacked[slot, 0], b[:width], scale, rows)

    def add_lora_embedding(
        self,
        y: torch.Tensor,
        x: torch.Tensor,
        lora_b_stacked: torch.Tensor,
        add_inputs: bool = True,
        **_: Any,
    ) -> None:
        """The same for the embedding, whose first product is a look-up: ``x`` is [tokens, rank]."""
        for slot, rows in self.token_groups:
            y[rows] += (x[rows].to(y.dtype) @ lora_b_stacked[slot, 0].T.to(y.dtype)).to(y.dtype)


def _add(
    y: torch.Tensor,
    x: torch.Tensor,
    a: torch.Tensor,
    b: torch.Tensor,
    scale: float,
    rows: slice | torch.Tensor,
) -> None:
    low_rank = x[rows].to(a.dtype) @ a.T  # vLLM's --lora-dtype may be another than the model's
    if scale != 1.0:
        low_rank = low_rank * scale
    added = (low_rank @ b.T).to(y.dtype)
    if isinstance(rows, slice):
        y[rows] += added
    else:
        y.index_add_(0, rows, added)


def _check_options(options: dict[str, Any]) -> None:
    """vLLM's second CUDA stream asks for a result of its own; nothing asks for one on a CPU."""
    if options.get("add_inputs", True) is not True:
        raise NotImplementedError("LoRA on a CPU is added to the layer's output, not returned by itself")
