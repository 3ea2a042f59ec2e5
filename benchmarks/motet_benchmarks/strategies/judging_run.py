"""From a run's folder to what a judge says of it: judgements.jsonl, judge.json and judge.md beside the samples."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from motet_benchmarks.endpoint import Endpoint
from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.progress import Steps
from motet_benchmarks.results import show
from motet_benchmarks.strategies import judging_report
from motet_benchmarks.strategies.judging_session import Judging, judge_of, load, questions, sampled
from motet_benchmarks.strategies.report.reading import Recorded, read
from motet_benchmarks.strategies.report.writing import replace
from motet_benchmarks.strategies.winning import Pair, pairs


async def measure(
    folder: Path,
    judge_model: str,
    *,
    strategies: Sequence[str] | None,
    most: int | None,
    tokens: int,
    concurrency: int,
    seed: int,
) -> None:
    """Ask the judge what it hasn't been asked yet, and write and show what all judgements of the run amount to.

    Raises BenchmarkError where there is no run, nothing to compare, or the judge doesn't answer; what it has said
    until then is kept.
    """
    url, name = judge_of(judge_model)
    recorded = read(folder)
    asked = questions(sampled(_wanted(folder, recorded, strategies), most, seed=seed))
    async with Endpoint(url, model=name) as endpoint:
        with Steps(f"{endpoint.model} judges", total=len(asked)) as steps:
            await Judging(endpoint, folder, tokens, concurrency, done=steps.advance).ask(asked)
    found = judging_report.verdicts(recorded.run, recorded.samples, load(folder))
    tables = judging_report.grids(recorded.run.strategies[0].name, found)
    markdown = "\n\n".join(
        ["# Judged", *(part for grid in tables for part in (f"## {grid.title}", grid.markdown()))]
    )
    facts = {"first": recorded.run.strategies[0].name, "verdicts": [asdict(one) for one in found]}
    paths = replace(
        folder,
        {"judge.json": json.dumps(facts, indent=1, allow_nan=False) + "\n", "judge.md": markdown + "\n"},
    )
    show(tables, paths)


def _wanted(folder: Path, recorded: Recorded, strategies: Sequence[str] | None) -> list[Pair]:
    """Raises BenchmarkError for a strategy that the run doesn't have, and where there is no pair."""
    others = [strategy.name for strategy in recorded.run.strategies[1:]]
    for name in strategies or ():
        if name not in others:
            raise BenchmarkError(
                f"--strategies: {name} is none of {', '.join(others) or '(no strategy beside the first)'}"
            )
    found = [
        pair
        for pair in pairs(recorded.run, recorded.samples)
        if strategies is None or pair.answer.strategy in strategies
    ]
    if not found:
        raise BenchmarkError(
            f"{folder}: no problem has answers of both {recorded.run.strategies[0].name} and another strategy"
        )
    return found
