"""Followers take their leader's token: what was drawn for them is overwritten before anybody reads it."""

from __future__ import annotations

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
