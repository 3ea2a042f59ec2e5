"""What is shown while a benchmark runs: on stderr, so that tables can be piped."""

from __future__ import annotations

from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


def waiting(text: str) -> AbstractContextManager[object]:
    """A spinner beside `text`; where nobody watches, the text alone."""
    console = _console(text)
    return console.status(text)


class Steps:
    """A bar of steps, each with a description while it runs."""

    def __init__(self, title: str, total: int | None = None) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=_console(title),
            transient=True,
        )
        self._task = self._progress.add_task(title, total=total)
        self._begun = 0

    def next(self, description: str) -> None:
        """The step before is done, if there was one, and this one begins."""
        self._progress.update(self._task, completed=self._begun, description=description)
        self._begun += 1

    def describe(self, description: str) -> None:
        """What is being done."""
        self._progress.update(self._task, description=description)

    def advance(self) -> None:
        """One more of many steps that run at once is done."""
        self._progress.advance(self._task)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()


def _console(text: str) -> Console:
    console = Console(stderr=True)
    if not console.is_terminal:
        console.print(text, highlight=False)
    return console
