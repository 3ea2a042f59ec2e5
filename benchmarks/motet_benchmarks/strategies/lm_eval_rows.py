"""What lm_eval leaves behind with --log_samples, read and checked."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from motet_benchmarks.errors import BenchmarkError

_SAMPLES = re.compile(r"samples_(?P<task>.+)_\d{4}-\d\d-\d\dT[\d.-]+\.jsonl")


@dataclass(frozen=True, slots=True)
class Choice:
    """By what to grade, of all that a task computes: the first where none is named."""

    metric: str | None = None
    filter: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One graded answer of lm_eval's."""

    problem: str
    family: str
    """The task of a group, or the task itself."""
    messages: tuple[Mapping[str, Any], ...]
    settings: Mapping[str, Any]
    """How it is to be generated, as the task says it."""
    reference: str
    text: str
    score: float
    metric: str
    filter: str


@dataclass(frozen=True, slots=True)
class Logged:
    """A run of lm_eval: a task's lines, and which metrics are the better the higher they are."""

    lines: Mapping[str, Sequence[Mapping[str, Any]]]
    higher: Mapping[str, Mapping[str, bool | None]]


def read(name: str, folder: Path) -> Logged:
    """What lm_eval has written under ``folder``. Raises BenchmarkError where it has written no samples."""
    lines: dict[str, list[Mapping[str, Any]]] = {}
    higher: dict[str, Mapping[str, bool | None]] = {}
    try:
        for file in sorted(folder.rglob("samples_*.jsonl")):
            if match := _SAMPLES.fullmatch(file.name):
                # In bytes: lm_eval writes separators that only look like the end of a line as they are.
                content = file.read_bytes().split(b"\n")
                lines[match["task"]] = [json.loads(line) for line in content if line.strip()]
        for file in folder.rglob("results_*.json"):
            higher |= json.loads(file.read_text(encoding="utf-8")).get("higher_is_better") or {}
    except (OSError, ValueError) as problem:
        raise BenchmarkError(f"{name}: what lm_eval has written can't be read: {problem}") from None
    if not any(lines.values()):
        raise BenchmarkError(f"{name}: lm_eval has written no samples")
    return Logged(lines, higher)


def chosen(name: str, logged: Logged, choice: Choice) -> list[Row]:
    """A row for each problem.

    Raises BenchmarkError where the task has no such metric or filter, its scores aren't from 0 to 1 with 1 the best,
    or it asks for anything but one text of a problem.
    """
    found = []
    for task, lines in logged.lines.items():
        if not lines:
            continue
        filters = list(dict.fromkeys(str(line.get("filter", "none")) for line in lines))
        wanted = _named(name, task, "filter", choice.filter, filters)
        metrics = [str(metric) for metric in lines[0].get("metrics", ())]
        metric = _named(name, task, "metric", choice.metric, metrics)
        if logged.higher.get(task, {}).get(metric) is False:
            raise BenchmarkError(
                f"{name}: {task}'s {metric} is the better the lower it is; {_others(name, metrics)}"
            )
        for line in lines:
            if line.get("filter", "none") == wanted:
                found.append(_row(name, task, line, metric, wanted, metrics))
    return found


def _row(
    name: str, task: str, line: Mapping[str, Any], metric: str, used: str, metrics: Sequence[str]
) -> Row:
    place = f"{task}/{line.get('doc_id')}"
    score = line.get(metric)
    if not isinstance(score, int | float) or not math.isfinite(score) or not 0 <= score <= 1:
        raise BenchmarkError(
            f"{name}: {metric} of {place} is {score!r} and no number from 0 to 1; {_others(name, metrics)}"
        )
    try:
        requests = list(line["arguments"].values())
        answers = line["resps"]
        if len(requests) != 1 or len(answers) != 1 or len(answers[0]) != 1:
            raise BenchmarkError(
                f"{name}: {place} is asked several times by the task itself; --draws asks so for every task"
            )
        prompt = requests[0]["arg_0"]
        # A chat is a list with the JSON of its messages in it; of older versions that JSON alone.
        messages = json.loads(prompt if isinstance(prompt, str) else prompt[0])
        if not all(isinstance(message["content"], str) for message in messages):
            raise BenchmarkError(f"{name}: {place} shows more than text")
        return Row(
            problem=place,
            family=task,
            messages=tuple(dict(message) for message in messages),
            settings=dict(requests[0]["arg_1"]),
            reference=str(line["target"]),
            text=str(answers[0][0] or ""),
            score=float(score),
            metric=metric,
            filter=used,
        )
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as problem:
        raise BenchmarkError(f"{name}: {place} isn't a chat that lm_eval has logged: {problem!r}") from None


def _named(name: str, task: str, kind: str, wanted: str | None, known: Sequence[str]) -> str:
    if not known:
        raise BenchmarkError(f"{name}: {task} has no {kind}, so that nothing can be graded by it")
    if wanted is None:
        return known[0]
    if wanted not in known:
        raise BenchmarkError(f"--tasks {name}: {task} has no {kind} {wanted}, but {', '.join(known)}")
    return wanted


def _others(name: str, metrics: Sequence[str]) -> str:
    task = ":".join(name.split(":")[:2])
    if len(metrics) < 2:
        return "the task has no other metric"
    return "choose another: " + ", ".join(f"{task}:{metric}" for metric in metrics)
