"""What the processes of one training tell each other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from motet_alignment.train.devices import Place

T = TypeVar("T")


class Together:
    """Sums and lists over all processes; one process alone asks nobody."""

    def __init__(self, place: Place) -> None:
        """Joins the others, where there are any."""
        self._place = place
        self._state: Any = None
        if place.processes > 1:
            from accelerate import PartialState

            self._state = PartialState(cpu=place.device == "cpu")

    @property
    def processes(self) -> int:
        """How many there are."""
        return self._place.processes

    def sum(self, *values: Tensor) -> tuple[Tensor, ...]:
        """Each value added up over the processes; all are float scalars or tensors of the same shape everywhere."""
        if self._state is None:
            return values
        flat = torch.cat([value.double().reshape(-1) for value in values]).to(self._place.device)
        torch.distributed.all_reduce(flat)
        parts = flat.split([value.numel() for value in values])
        return tuple(part.reshape(value.shape).to(value) for part, value in zip(parts, values, strict=True))

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Adds up gradients over the processes, in one message: each holds its share of one loss."""
        if self._state is None:
            return
        chosen = list(parameters)
        for weight in chosen:
            if weight.grad is None:
                weight.grad = torch.zeros_like(weight)
        flat = torch.cat([weight.grad.reshape(-1) for weight in chosen if weight.grad is not None])
        torch.distributed.all_reduce(flat)
        for weight, part in zip(chosen, flat.split([weight.numel() for weight in chosen]), strict=True):
            weight.grad = part.reshape(weight.shape).clone()

    def gather(self, items: Sequence[T]) -> list[T]:
        """All processes' items, in the processes' order."""
        if self._state is None:
            return list(items)
        lists: list[Any] = [None] * self.processes
        torch.distributed.all_gather_object(lists, list(items))
        return [item for one in lists for item in one]

    def wait(self) -> None:
        """Until all have come here."""
        if self._state is not None:
            self._state.wait_for_everyone()

    def share(self, count: int) -> range:
        """The places, of `count`, that are this process's."""
        begin = count * self._place.process // self.processes
        return range(begin, count * (self._place.process + 1) // self.processes)
