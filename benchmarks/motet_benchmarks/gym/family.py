"""What makes a family: its wordings, and a function that poses one problem."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from motet_benchmarks.gym.instance import Instance, Mistake, Step, Turn


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem before it is put into words.

    `key` is made of `fields` where it is not given. `mistakes` are (kind, text) candidates, the shortcut
    first; those that happen to be right are dropped. `wrong_steps[wrong_at]` is the first wrong line. `kin` are
    (family, key) of problems that tell this one's answer.
    """

    answer: object
    mistakes: Sequence[tuple[str, object]]
    fields: Mapping[str, object] = field(default_factory=dict)
    key: str = ""
    steps: Sequence[str] = ()
    wrong_steps: Sequence[str] = ()
    wrong_at: int = 0
    kin: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class Family:
    """A kind of problem. Every text is a template filled with the problem's fields.

    `wordings` are equal ways to ask; `history` alternates user and assistant, beginning with the user;
    `terms` are the words that only worked steps or answers use.
    """

    name: str
    title: str
    pose: Callable[[random.Random], Problem]
    wordings: tuple[str, ...]
    input: str = ""
    systems: tuple[str, ...] = ("",)
    history: tuple[str, ...] = ()
    terms: tuple[str, ...] = ()

    def draw(self, rng: random.Random) -> Instance:
        """Draw one problem in one wording; problems without a possible mistake are drawn again."""
        while True:
            problem = self.pose(rng)
            instance = self._put(problem, rng.choice(self.wordings), rng.choice(self.systems))
            if instance.mistakes:
                return instance

    def words(self) -> set[str]:
        """The words of the templates, as they are written there; single letters are left to be spelled."""
        texts = (*self.wordings, self.input, *self.systems, *self.history, *self.terms)
        return {word for text in texts for word in re.findall(r"[A-Za-z]{2,}", re.sub(r"{\w+}", " ", text))}

    def _put(self, problem: Problem, wording: str, system: str) -> Instance:
        fields = problem.fields
        answer = str(problem.answer)
        texts = {kind: str(text) for kind, text in problem.mistakes}
        return Instance(
            family=self.name,
            key=problem.key or " ".join(str(value) for value in fields.values()),
            instruction=wording.format(**fields),
            answer=answer,
            mistakes=tuple(Mistake(kind, text) for kind, text in texts.items() if text != answer),
            input=self.input.format(**fields),
            system=system.format(**fields),
            history=tuple(
                Turn("assistant" if place % 2 else "user", text.format(**fields))
                for place, text in enumerate(self.history)
            ),
            steps=tuple(Step(text, True) for text in problem.steps),
            wrong_steps=tuple(
                Step(text, place != problem.wrong_at) for place, text in enumerate(problem.wrong_steps)
            ),
            kin=tuple(problem.kin),
        )


def family(
    *wordings: str,
    input: str = "",
    systems: tuple[str, ...] = ("",),
    history: tuple[str, ...] = (),
    terms: tuple[str, ...] = (),
) -> Callable[[Callable[[random.Random], Problem]], Family]:
    """Turn a function that poses problems into a family: its name is the name, its docstring the title."""

    def make(pose: Callable[[random.Random], Problem]) -> Family:
        name = pose.__name__.replace("_", "-")
        title = (pose.__doc__ or name).rstrip(".")
        return Family(name, title, pose, wordings, input, systems, history, terms)

    return make
