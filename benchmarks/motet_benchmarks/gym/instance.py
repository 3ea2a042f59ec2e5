"""One problem of the gym: what is asked, what is right, and what is easily got wrong."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

ANSWER = "Answer: "
SHOW_STEPS = "Show your steps."


@dataclass(frozen=True, slots=True)
class Turn:
    """One earlier message of a conversation."""

    role: Literal["user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Mistake:
    """A systematic wrong answer: the same problem always gives the same text of the same kind."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Step:
    """One line of worked reasoning; `right` judges it given the lines before it."""

    text: str
    right: bool


@dataclass(frozen=True, slots=True)
class Instance:
    """A problem with its reference answer, its mistakes and, for some families, worked steps.

    `key` names the problem whatever its wording, and decides its split. `mistakes[0]` is the family's
    shortcut, far easier than the right way. `wrong_steps` holds one step with `right=False`, the first
    error, and ends in the last of the mistakes. `kin` are the (family, key) of problems whose text tells this
    one's answer, such as the same operands in another order: one is held out only if all of them are.
    """

    family: str
    key: str
    instruction: str
    answer: str
    mistakes: tuple[Mistake, ...]
    input: str = ""
    system: str = ""
    history: tuple[Turn, ...] = ()
    steps: tuple[Step, ...] = ()
    wrong_steps: tuple[Step, ...] = ()
    worked: bool = False
    kin: tuple[tuple[str, str], ...] = ()

    def messages(self) -> list[dict[str, str]]:
        """The problem as OpenAI chat messages: system if any, earlier turns, then the user's request."""
        system = [{"role": "system", "content": self.system}] if self.system else []
        earlier = [{"role": turn.role, "content": turn.content} for turn in self.history]
        request = f"{self.instruction}\n{self.input}" if self.input else self.instruction
        return [*system, *earlier, {"role": "user", "content": request}]

    def grade(self, text: str) -> bool:
        """Whether `text` answers exactly, as `is_right` has it."""
        return is_right(text, self.answer)

    def stepwise(self) -> Instance:
        """The same problem asking for its steps. Raises ValueError where the family has none."""
        if not self.steps:
            raise ValueError(f"family {self.family!r} has no worked steps")
        if self.worked:
            return self
        return replace(self, instruction=f"{self.instruction} {SHOW_STEPS}", worked=True)

    @property
    def target(self) -> str:
        """The text a perfect assistant writes."""
        return _with_steps(self.steps, self.answer) if self.worked else self.answer

    def mistaken(self, mistake: Mistake) -> str:
        """The text of an assistant that makes `mistake`, with the wrong steps where they lead to it."""
        if self.worked and mistake == self.mistakes[-1]:
            return _with_steps(self.wrong_steps, mistake.text)
        return mistake.text


def is_right(text: str, answer: str) -> bool:
    """Whether `text` gives just this `answer`, after the last "Answer: " if it has one.

    Outer blanks and one closing full stop don't count; everything else does, capitals included.
    """
    return _normalise(text.rpartition(ANSWER)[2]) == _normalise(answer)


def _normalise(text: str) -> str:
    return text.strip().removesuffix(".")


def _with_steps(steps: tuple[Step, ...], answer: str) -> str:
    return "\n".join([*(step.text for step in steps), f"{ANSWER}{answer}"])
