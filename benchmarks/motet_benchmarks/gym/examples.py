"""Training data from the gym: how to answer, which of two answers is right, and what to answer.

The train split alone is drawn from.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.gym.instance import Instance, Mistake
from motet_benchmarks.gym.splits import stream

Kind = Literal["demonstrations", "comparisons", "prompts"]
Example = Mapping[str, Any]

#: Part of the problems with worked steps that asks for them; as many as the bundled models' own text has.
WORKED = 0.15
#: Part of the mistakes that is the family's shortcut; the rest is drawn from the others it has.
SHORTCUT = 0.5


def problems(
    *, seed: int, worked: float = WORKED, families: Iterable[str] | None = None
) -> Iterator[Instance]:
    """Training problems without end, each family in turn; so large a part of those with steps asks for them.

    Raises ValueError for an unknown family or a part that is none.
    """
    if not 0 <= worked <= 1:
        raise ValueError(f"worked must lie between 0 and 1, got {worked}")
    rng = random.Random(f"{seed} examples worked")
    return (
        problem.stepwise() if problem.steps and rng.random() < worked else problem
        for problem in stream("train", seed=seed, families=families)
    )


def demonstrations(
    *, seed: int, worked: float = WORKED, families: Iterable[str] | None = None
) -> Iterator[Example]:
    """Training problems with what a perfect assistant answers, as chat messages; endless."""
    return (demonstration(problem) for problem in problems(seed=seed, worked=worked, families=families))


def comparisons(
    *,
    seed: int,
    worked: float = WORKED,
    shortcut: float = SHORTCUT,
    families: Iterable[str] | None = None,
) -> Iterator[Example]:
    """Training problems with the right answer and one of the family's systematic mistakes; endless.

    So large a part of the mistakes is the family's `shortcut`, where it has others. Raises ValueError as `problems`.
    """
    if not 0 <= shortcut <= 1:
        raise ValueError(f"shortcut must lie between 0 and 1, got {shortcut}")
    rng = random.Random(f"{seed} examples mistakes")
    return (
        comparison(problem, problem.mistaken(pick(problem.mistakes, shortcut, rng)))
        for problem in problems(seed=seed, worked=worked, families=families)
    )


def prompts(*, seed: int, worked: float = WORKED, families: Iterable[str] | None = None) -> Iterator[Example]:
    """Training problems as chat messages, with the `answer` that the grader `gym` looks at and the family; endless."""
    return (prompt(problem) for problem in problems(seed=seed, worked=worked, families=families))


def demonstration(problem: Instance) -> Example:
    """The problem, answered as a perfect assistant does."""
    return {"messages": [*problem.messages(), _said(problem.target)]}


def comparison(problem: Instance, rejected: str) -> Example:
    """The problem with what a perfect assistant answers and what was answered wrongly."""
    return {
        "prompt": problem.messages(),
        "chosen": [_said(problem.target)],
        "rejected": [_said(rejected)],
    }


def prompt(problem: Instance) -> Example:
    """The problem, with what a right answer says."""
    return {"messages": problem.messages(), "answer": problem.answer, "family": problem.family}


KINDS: Mapping[Kind, Callable[..., Iterator[Example]]] = {
    "demonstrations": demonstrations,
    "comparisons": comparisons,
    "prompts": prompts,
}


def write(path: Path, examples: Iterable[Example], *, count: int) -> int:
    """Write the first `count` examples into `path`, a JSON object a line; returns how many there were.

    The file is written beside and renamed into place. Raises BenchmarkError if it can't be written.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.new")
    written = 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("w", encoding="utf-8") as file:
            for example in islice(examples, count):
                file.write(json.dumps(example, ensure_ascii=False) + "\n")
                written += 1
        os.replace(beside, path)
    except OSError as problem:
        raise BenchmarkError(f"{path}: can't write there: {problem.strerror or problem}") from None
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
    return written


def _said(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def pick(mistakes: Sequence[Mistake], shortcut: float, rng: random.Random) -> Mistake:
    """One of the mistakes: so large a part of the time the first, the family's shortcut, else one of the others."""
    if len(mistakes) == 1 or rng.random() < shortcut:
        return mistakes[0]
    return rng.choice(mistakes[1:])
