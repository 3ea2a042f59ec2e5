"""From a run's folder to what a judge says of it: judge.json and judge.md in it, and its report anew."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.progress import Steps
from motet_benchmarks.results import marked, show
from motet_benchmarks.strategies.judging_report import LEGEND, Verdicts, grids, verdicts
from motet_benchmarks.strategies.judging_session import Judging, judge_of, load, questions, sampled
from motet_benchmarks.strategies.reading import Recorded, read
from motet_benchmarks.strategies.report.writing import replace, write
from motet_benchmarks.strategies.streaming import StreamingEndpoint
from motet_benchmarks.strategies.winning import Pair, pairs


async def judged(
    folder: Path,
    judge_model: str,
    *,
    strategies: Sequence[str] | None = None,
    most: int | None = None,
    tokens: int = 64,
    concurrency: int = 16,
    seed: int = 0,
) -> list[Verdicts]:
    """Asks the judge what it hasn't been asked yet; what all judgements of the run amount to.

    Args:
        folder: the run's.
        judge_model: URL/NAME.
        strategies: those to hold against the first; all where None.
        most: pairs of each strategy on each task; all where None.
        tokens: the judge's longest reply.
        concurrency: the most questions at once.
        seed: draws the pairs.

    Raises BenchmarkError where there is no run, nothing to compare, or the judge doesn't answer; what it has said
    until then is kept.
    """
    url, name = judge_of(judge_model)
    recorded = read(folder)
    asked = questions(sampled(_wanted(folder, recorded, strategies), most, seed=seed))
    async with StreamingEndpoint(url, model=name) as endpoint:
        with Steps(f"{endpoint.model} judges", total=len(asked)) as steps:
            judging = Judging(endpoint, folder, tokens, concurrency, done=steps.advance)
            await judging.ask(asked)
    if judging.refused:
        print(
            f"{len(judging.refused):,} of {len(asked):,} questions were refused by the judge, and count nowhere; the "
            f"first: {judging.refused[0]}",
            file=sys.stderr,
        )
    found = verdicts(recorded.served, recorded.samples, load(folder))
    if not found:
        raise BenchmarkError(f"{folder}: {endpoint.model} has read no pair of answers in both orders")
    return found


def publish(folder: Path, found: Sequence[Verdicts]) -> None:
    """Writes and shows the verdicts, and the run's report with them. Raises BenchmarkError where it can't."""
    first = found[0].rate.against
    tables = grids(first, found)
    parts = [
        "# Judged",
        LEGEND,
        *(part for grid in tables for part in (f"## {marked(grid.title)}", grid.markdown())),
    ]
    facts = {"first": first, "verdicts": [asdict(one) for one in found]}
    content = {
        "judge.json": json.dumps(facts, indent=1, allow_nan=False) + "\n",
        "judge.md": "\n\n".join(parts) + "\n",
    }
    show(tables, [*replace(folder, content), *write(folder)])


def _wanted(folder: Path, recorded: Recorded, strategies: Sequence[str] | None) -> list[Pair]:
    """Raises BenchmarkError for a strategy that the run doesn't have, and where there is no pair."""
    first, *rest = recorded.served.strategies
    others = [strategy.name for strategy in rest]
    for name in strategies or ():
        if name not in others:
            raise BenchmarkError(
                f"--strategies: {name} is none of {', '.join(others) or '(no strategy beside the first)'}"
            )
    found = [
        pair
        for pair in pairs(recorded.served, recorded.samples)
        if strategies is None or pair.answer.strategy in strategies
    ]
    if not found:
        raise BenchmarkError(f"{folder}: no problem has answers of both {first.name} and another strategy")
    return found
