"""Following requests through the V1 runner's batch, whose rows change places as others come and go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from vllm import SamplingParams
    from vllm.v1.sample.logits_processor import BatchUpdate

Asked = TypeVar("Asked")


def follow(
    asking: dict[int, Asked],
    update: BatchUpdate,
    read: Callable[[SamplingParams, Sequence[int]], Asked | None],
) -> None:
    """Brings ``asking``, what is asked for by batch row, up to date with a step's changes.

    Args:
        asking: changed in place.
        update: vLLM's account of the rows removed, added and moved, in this order.
        read: what a request asks for, by its parameters and the running list of its drawn tokens; None for nothing.
    """
    from vllm.v1.sample.logits_processor import MoveDirectionality

    for row in update.removed:
        asking.pop(row, None)
    for row, params, _, drawn in update.added:
        asked = read(params, drawn)
        if asked is None:
            asking.pop(row, None)
        else:
            asking[row] = asked
    for source, target, direction in update.moved:
        moving, standing = asking.pop(source, None), asking.pop(target, None)
        if moving is not None:
            asking[target] = moving
        if standing is not None and direction == MoveDirectionality.SWAP:
            asking[source] = standing
