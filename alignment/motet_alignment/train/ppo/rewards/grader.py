"""Graders that are installed: the gym's, and whatever else declares the entry point."""

from __future__ import annotations

from importlib.metadata import entry_points

from motet_alignment.errors import TrainError
from motet_alignment.train.ppo.rewards.reward import Reward

#: Entry points of this group are called without arguments and give a Reward.
GROUP = "motet.graders"


def find_grader(name: str, said: str) -> Reward:
    """The installed grader of that name; `said` is how it was asked for.

    Raises TrainError naming those there are, and what else a reward may be.
    """
    found = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in found:
        raise TrainError(
            f"{said}: there is no such grader; installed: {', '.join(sorted(found)) or 'none'}. A reward is "
            "also adapter:NAME, server:NAME, python:FILE.py:FUNCTION or the URL of a scorer"
        )
    try:
        grader: Reward = found[name].load()()
    except Exception as error:
        raise TrainError(f"{said}: can't be loaded: {type(error).__name__}: {error}") from error
    return grader
