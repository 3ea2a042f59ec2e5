"""A run's figures as lines of JSON and in TensorBoard; what a killed run wrote too much is dropped."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from tensorboardX import SummaryWriter  # type: ignore[import-untyped]

from motet_alignment.errors import TrainError

METRICS = "metrics.jsonl"


class Lines:
    """A file of JSON lines that grows with a run."""

    def __init__(self, file: Path, key: str, begin: int) -> None:
        """Continues after `begin`: lines whose `key` is higher, of a run that was killed, are dropped.

        Raises TrainError where a line can't be read.
        """
        self._file = file
        self.lines: list[dict[str, Any]] = []
        if file.exists():
            self._keep(line for line in read_lines(file) if line[key] <= begin)

    def write(self, line: Mapping[str, Any]) -> None:
        """Adds one."""
        self.lines.append(dict(line))
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, allow_nan=False) + "\n")

    def drop(self, unwanted: Callable[[Mapping[str, Any]], bool]) -> None:
        """Takes lines out."""
        kept = [line for line in self.lines if not unwanted(line)]
        if len(kept) < len(self.lines):
            self._keep(kept)

    def _keep(self, lines: Iterable[dict[str, Any]]) -> None:
        self.lines = list(lines)
        beside = self._file.with_suffix(".new")
        beside.write_text("".join(json.dumps(line) + "\n" for line in self.lines), "utf-8")
        beside.replace(self._file)


class Metrics(Lines):
    """metrics.jsonl, and the same figures in TensorBoard."""

    def __init__(self, folder: Path, key: str, begin: int) -> None:
        """`key` is what the lines count by: step, iteration. Later ones than `begin` are dropped."""
        super().__init__(folder / METRICS, key, begin)
        self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=begin + 1)

    def scalars(self, at: int, figures: Mapping[str, float]) -> None:
        """Shows figures in TensorBoard; those that begin with eval_ are held out."""
        for key, value in figures.items():
            part, name = ("held_out", key[5:]) if key.startswith("eval_") else ("training", key)
            self.board.add_scalar(f"{part}/{name}", value, at)

    def close(self) -> None:
        """Writes everything out."""
        self.board.close()


def read_lines(file: Path) -> list[dict[str, Any]]:
    """A file of JSON lines, nothing where there is none; the last one may be cut off by a kill and then doesn't count.

    Raises TrainError naming the line that can't be read.
    """
    try:
        written = file.read_text("utf-8").split("\n")
    except FileNotFoundError:
        return []
    found = []
    for number, line in enumerate(written[:-1], 1):
        try:
            found.append(json.loads(line))
        except ValueError as problem:
            raise TrainError(f"{file}:{number}: no JSON: {problem}") from None
    return found


def seconds_text(seconds: float) -> str:
    """A span of time as people say it."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"
