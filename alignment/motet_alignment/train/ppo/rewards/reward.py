"""What judges answers."""

from __future__ import annotations

import sysconfig
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from motet_alignment.data import Message
from motet_alignment.train.ppo.rollout import Prompt, Rollout


@dataclass(frozen=True, slots=True)
class Answered:
    """A prompt with one answer to it: what every reward sees."""

    #: The prompt's turns.
    messages: tuple[Message, ...]
    #: As people read it, without special tokens; it may be empty.
    answer: str
    #: False where the answer was cut off.
    ended: bool
    #: The file's row that the prompt came from.
    row: Mapping[str, Any]
    #: FILE:LINE of it.
    source: str
    prompt_ids: tuple[int, ...]
    answer_ids: tuple[int, ...]


class Reward(Protocol):
    """One source of rewards: a number for each answer, higher is better."""

    def __call__(self, answered: Sequence[Answered]) -> Sequence[float]:
        """A finite number for each, in their order."""
        ...


@runtime_checkable
class Checks(Protocol):
    """What a reward may have besides: a look at the prompts before anything is answered."""

    def check(self, prompts: Sequence[Prompt]) -> None:
        """Raises AlignmentError, naming FILE:LINE, for a prompt whose answers it couldn't judge."""
        ...


@runtime_checkable
class Closes(Protocol):
    """What a reward may have besides: an end."""

    def close(self) -> None:
        """Gives back what it holds."""
        ...


def answered_by(rollout: Rollout) -> Answered:
    """The rollout as rewards see it."""
    prompt = rollout.prompt
    return Answered(
        messages=prompt.messages,
        answer=rollout.text,
        ended=rollout.ended,
        row=prompt.row,
        source=prompt.source,
        prompt_ids=prompt.ids,
        answer_ids=rollout.ids,
    )


def described(answered: Answered) -> str:
    """Which sample it is, in one line: where it stands, the end of what was asked, the beginning of what was said."""
    asked = answered.messages[-1].content
    return f"{answered.source}, asked {_short(asked)}, answered {_short(answered.answer)}"


def raised_at(error: Exception) -> str:
    """Where in somebody's own code it was raised, as "FILE:LINE: "; empty where it was elsewhere."""
    libraries = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    others = (*libraries, str(Path(__file__).parent), "<")
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(others) and frame.lineno is not None
    ]
    return f"{own[-1].filename}:{own[-1].lineno}: " if own else ""


def _short(text: str, most: int = 80) -> str:
    return repr(text if len(text) <= most else f"{text[:most]}...")
