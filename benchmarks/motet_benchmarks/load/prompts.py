"""What is asked under load: problems of the gym, or a user's own prompts."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from motet_benchmarks import gym
from motet_benchmarks.strategies.tasks.rows import Row, read_rows

Messages = Sequence[Mapping[str, Any]]

#: What --prompts calls the gym.
GYM = "gym"
#: Different problems of it.
POOL = 400


class Prompts(Protocol):
    """Conversations to ask."""

    name: str
    """Where they come from."""

    def of_turn(self, turn: int, seed: int) -> Iterator[Messages]:
        """Without end; the same ones whenever turn and seed are."""


class GymPrompts:
    """Test problems of the gym, each behind a number of its own, so that no prefix cache knows its request."""

    name = "problems of the gym, each behind a number of its own"

    def __init__(self) -> None:
        self._pools: dict[int, list[Messages]] = {}

    def of_turn(self, turn: int, seed: int) -> Iterator[Messages]:
        """Without end; the same ones whenever turn and seed are."""
        if seed not in self._pools:
            # Drawn beforehand: a problem takes milliseconds, which a client under load doesn't have.
            found = itertools.islice(gym.stream("test", seed=seed), POOL)
            self._pools[seed] = [problem.messages() for problem in found]
        for number, (*earlier, last) in enumerate(_shuffled(self._pools[seed], turn, seed), start=1):
            yield [*earlier, {**last, "content": f"{turn + 1}.{number} {last['content']}"}]


class FilePrompts:
    """A user's own, as they are; all of them in an order of its own in each turn, again and again."""

    def __init__(self, name: str, conversations: Sequence[Messages]) -> None:
        self.name = f"{len(conversations)} prompts of {name}"
        self._conversations = list(conversations)

    def of_turn(self, turn: int, seed: int) -> Iterator[Messages]:
        """Without end; the same ones whenever turn and seed are."""
        return _shuffled(self._conversations, turn, seed)


def _shuffled(conversations: Sequence[Messages], turn: int, seed: int) -> Iterator[Messages]:
    rng = random.Random(f"{seed} {turn} prompts")
    while True:
        yield from rng.sample(conversations, len(conversations))


class _Message(BaseModel):
    model_config = ConfigDict(extra="allow")

    role: Annotated[str, Field(min_length=1)]
    content: Any = None


class _Line(BaseModel):
    """Other keys are somebody else's: a file of tasks can be read as well."""

    prompt: Annotated[str | None, Field(min_length=1)] = None
    messages: Annotated[list[_Message] | None, Field(min_length=1)] = None

    @model_validator(mode="after")
    def _one(self) -> _Line:
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("needs either prompt or messages")
        return self

    def conversation(self) -> Messages:
        if self.messages is None:
            return [{"role": "user", "content": self.prompt}]
        return [message.model_dump(exclude_unset=True) for message in self.messages]


def read(said: str) -> Prompts:
    """The prompts of --prompts: `gym`, or a file of JSON lines with `prompt` or `messages` each.

    Raises BenchmarkError that names the file, and the line that is none.
    """
    if said == GYM:
        return GymPrompts()
    path = Path(said)
    return FilePrompts(path.name, [_conversation(row) for row in read_rows(path)])


def _conversation(row: Row) -> Messages:
    try:
        found = _Line.model_validate(dict(row.fields)).conversation()
    except ValidationError as problem:
        first = problem.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise row.wrong(f"{field + ': ' if field else ''}{first['msg']}") from None
    try:
        json.dumps(found, allow_nan=False)
    except ValueError:
        raise row.wrong("holds a number that JSON doesn't have") from None
    return found
