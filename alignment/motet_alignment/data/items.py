"""What a data file holds once it is read: conversations, pairs, ratings, rankings and prompts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

Kind = Literal["demonstration", "comparison", "rating", "ranking", "prompt"]
T = TypeVar("T", bound="Item")
Role = Literal["system", "user", "assistant", "tool"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Message(_Frozen):
    """One turn of a conversation."""

    role: Role
    content: str
    weight: Literal[0, 1] = Field(default=1, description="0: an assistant turn that carries no loss.")


class Demonstration(_Frozen):
    """A conversation to imitate; its last turn is the assistant's."""

    messages: tuple[Message, ...]
    source: str = Field(description="FILE:LINE it was read from.")


class Comparison(_Frozen):
    """Two ways to go on from one prompt, the first preferred."""

    prompt: tuple[Message, ...] = Field(description="Ends with the user's (or a tool's) turn.")
    chosen: tuple[Message, ...] = Field(description="Ends with the assistant's turn.")
    rejected: tuple[Message, ...] = Field(description="Ends with the assistant's turn.")
    margin: float | None = Field(default=None, ge=0, description="How much better, in units of reward.")
    confidence: float | None = Field(
        default=None, ge=0.5, le=1, description="How likely it is that the label is right."
    )
    source: str = Field(description="FILE:LINE it was read from.")


class Rating(_Frozen):
    """A conversation with a score: a pointwise target."""

    messages: tuple[Message, ...]
    score: float
    source: str = Field(description="FILE:LINE it was read from.")


class Ranking(_Frozen):
    """Several answers to one prompt, best first: a listwise target."""

    prompt: tuple[Message, ...]
    answers: tuple[tuple[Message, ...], ...]
    source: str = Field(description="FILE:LINE it was read from.")


class Prompt(_Frozen):
    """Something to be answered."""

    prompt: tuple[Message, ...] = Field(description="Ends with the user's (or a tool's) turn.")
    source: str = Field(description="FILE:LINE it was read from.")


Item = Demonstration | Comparison | Rating | Ranking | Prompt
KINDS: Mapping[Kind, type[Item]] = {
    "demonstration": Demonstration,
    "comparison": Comparison,
    "rating": Rating,
    "ranking": Ranking,
    "prompt": Prompt,
}


class Problem(_Frozen):
    """A line that can't be used, and why."""

    file: str
    line: int = Field(
        description="Line of a text file, row of a Parquet file; both begin at 1. 0: the whole file."
    )
    reason: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{where}: {self.reason}"


class SourceFile(_Frozen):
    """One file that was read."""

    path: Path
    shape: str
    sha256: str = Field(description="Of the file's bytes as they lie on the disk.")
    rows: int = Field(description="Lines or rows with something in them, bad ones included.")
    examples: int
    unused: Mapping[str, int] = Field(
        description="Columns that the shape has no use for, and in how many rows."
    )


class Examples(_Frozen):
    """Everything that was read from one or more files, in their order."""

    items: tuple[Item, ...]
    kind: Kind
    files: tuple[SourceFile, ...]
    problems: tuple[Problem, ...] = Field(
        description="Lines left out; empty unless bad lines were to be skipped."
    )

    @property
    def shape(self) -> str:
        """The files' shape; several names, comma between, where they differ."""
        return ", ".join(dict.fromkeys(file.shape for file in self.files))

    @property
    def sha256(self) -> dict[str, str]:
        """Each file's hash, by the path it was read from."""
        return {str(file.path): file.sha256 for file in self.files}

    def __len__(self) -> int:
        return len(self.items)

    def of(self, item: type[T]) -> Iterator[T]:
        """The items, typed; all of them are of one kind."""
        return (one for one in self.items if isinstance(one, item))
