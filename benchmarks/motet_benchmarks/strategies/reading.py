"""A run read back from its folder."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.strategies.records import FORMAT, RUN_FILE, SAMPLES_FILE, Run, Sample


@dataclass(frozen=True, slots=True)
class Recorded:
    """A run and its answers, in the order in which they came."""

    run: Run
    samples: tuple[Sample, ...]
    torn: bool
    """Whether the last line was cut off, as a killed run leaves it; it isn't among the samples."""

    @property
    def served(self) -> Run:
        """The run without the strategies that the endpoint refused."""
        kept = tuple(strategy for strategy in self.run.strategies if strategy.name not in self.run.refused)
        return self.run.model_copy(update={"strategies": kept})

    @property
    def answers(self) -> int:
        """How many of the expected answers are there."""
        return sum(sample.strategy not in self.run.refused for sample in self.samples)

    def expected(self) -> int:
        """How many answers a run to its end would have."""
        draws = sum(
            self.run.draws_of(strategy)
            for strategy in self.run.strategies
            if strategy.name not in self.run.refused
        )
        return draws * sum(task.problems for task in self.run.tasks)


def read(folder: Path) -> Recorded:
    """The run in `folder`.

    Raises BenchmarkError, which names the file and line, where there is none, it was written by a newer version, or a
    line isn't a sample of it.
    """
    run = read_run(folder / RUN_FILE)
    samples, torn = read_samples(folder / SAMPLES_FILE, run)
    if len(run.refused) == len(run.strategies):
        told = "; ".join(f"{name}: {reason}" for name, reason in run.refused.items())
        raise BenchmarkError(
            f"{folder}: the endpoint refused every strategy ({told}), so there is nothing to report"
        )
    if not samples:
        raise BenchmarkError(
            f"{folder / SAMPLES_FILE}: no answers yet; run the same command again to get some"
        )
    return Recorded(run, samples, torn)


def read_run(file: Path) -> Run:
    """A `run.json`. Raises BenchmarkError for what is none, or of a newer version."""
    try:
        found = json.loads(_decoded(file, _bytes(file)))
    except ValueError as problem:
        raise BenchmarkError(f"{file}: no JSON: {problem}") from None
    if not isinstance(found, dict):
        raise BenchmarkError(f"{file}: an object was expected")
    version = found.get("format")
    if isinstance(version, int) and version > FORMAT:
        raise BenchmarkError(
            f"{file}: written by a newer motet (format {version}, this one reads up to {FORMAT})"
        )
    try:
        return Run.model_validate(found)
    except ValidationError as problem:
        raise BenchmarkError(f"{file}: {_sentence(problem)}") from None


def read_samples(file: Path, run: Run) -> tuple[tuple[Sample, ...], bool]:
    """The whole lines of a `samples.jsonl`, and whether there is a torn one behind them.

    Raises BenchmarkError, which names the line, for what is no sample of ``run``.
    """
    # A whole line ends with a newline, so what follows the last one is nothing, or torn.
    whole, _, rest = _bytes(file).rpartition(b"\n")
    lines = _decoded(file, whole).split("\n")
    strategies = {strategy.name for strategy in run.strategies}
    tasks = {task.name for task in run.tasks}
    seen: dict[tuple[str, str, str, int], int] = {}
    samples = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            sample = Sample.model_validate_json(line)
        except ValidationError as problem:
            raise BenchmarkError(f"{file}, line {number}: {_sentence(problem)}") from None
        if sample.strategy not in strategies or sample.task not in tasks:
            raise BenchmarkError(
                f"{file}, line {number}: {RUN_FILE} beside it has no strategy {sample.strategy!r} "
                f"with a task {sample.task!r}"
            )
        if not all(math.isfinite(value) for _, value in sample if isinstance(value, float)):
            raise BenchmarkError(f"{file}, line {number}: a figure that isn't finite")
        key = sample.strategy, sample.task, sample.problem, sample.draw
        if key in seen:
            raise BenchmarkError(f"{file}, line {number}: the same answer as in line {seen[key]}")
        seen[key] = number
        samples.append(sample)
    return tuple(samples), rest != b""


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as problem:
        raise BenchmarkError(
            f"{file}: can't be read: {problem.strerror or problem}; a run's folder holds {RUN_FILE} and {SAMPLES_FILE}"
        ) from None


def _decoded(file: Path, content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as problem:
        raise BenchmarkError(f"{file}: no UTF-8: {problem}") from None


def _sentence(problem: ValidationError) -> str:
    first = problem.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place}: {first['msg']}" if place else first["msg"]
