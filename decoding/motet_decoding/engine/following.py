"""Followers take their leader's token: what was drawn for them is overwritten before anybody reads it."""

from __future__ import annotations

from typing import Any

import torch


def follow_leaders(drawn: torch.Tensor, leading: tuple[torch.Tensor, torch.Tensor] | None) -> None:
    """Copies the leaders' draws to their followers.

    Args:
        drawn: the step's tokens, [rows, tokens]; changed in place.
        leading: the followers' rows and their leaders' rows, int64; None where there are none.
    """
    if leading is not None:
        followers, leaders = leading
        drawn[followers] = drawn[leaders]


class FollowingSampler:
    """A V2 runner's sampler whose followers follow; everything else is the sampler's own."""

    def __init__(self, sampler: Any, processor: Any) -> None:
        self._sampler = sampler
        self._processor = processor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sampler, name)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """As the sampler."""
        output = self._sampler(*arguments, **options)
        follow_leaders(output.sampled_token_ids, self._processor.leading())
        return output
