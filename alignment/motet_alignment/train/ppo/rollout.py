"""An answer that the policy gave, and who gives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from motet_alignment.data import Message


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is to be answered."""

    #: Ends with the user's turn, or a tool's.
    messages: tuple[Message, ...]
    #: Rendered, up to where the answer begins.
    ids: tuple[int, ...]
    #: The file's row as it stood there: what graders look at.
    row: Mapping[str, Any]
    #: FILE:LINE.
    source: str


@dataclass(frozen=True, slots=True)
class Rollout:
    """One answer to one prompt."""

    prompt: Prompt
    #: The answer's tokens, with the end token where it ended by itself.
    ids: tuple[int, ...]
    #: The answer as people read it, without special tokens.
    text: str
    #: False where it was cut off by the bound on its length or by the context.
    ended: bool
    #: Log-probabilities of `ids`, in nats, as the sampler itself saw them; None where the sampler is the trained model.
    logprobs: tuple[float, ...] | None


@dataclass(frozen=True, slots=True)
class PolicyFiles:
    """One version of the policy as PEFT saves it."""

    folder: Path
    #: The iteration that it is for; rising.
    number: int


class Sampler(Protocol):
    """Draws answers from one version of the policy at a time."""

    def follow(self, policy: PolicyFiles) -> None:
        """Answers by this version from here on; the one before is unloaded."""
        ...

    def sample(
        self, prompts: Sequence[Prompt], seeds: Sequence[int], *, greedy: bool = False
    ) -> list[Rollout]:
        """One answer to each prompt, in order, all by the version followed.

        Drawn from the policy at the settings' temperature, nothing cut away, each with its seed; or greedily.
        """
        ...

    def rest(self) -> None:
        """Gives back the memory it can do without until the next answers."""
        ...

    def close(self) -> None:
        """Ends it."""
        ...
