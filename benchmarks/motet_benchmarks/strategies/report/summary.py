"""What a reader wants to know first, and how it was found out, in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from motet_benchmarks.comparisons import BETTER, LEVEL, MCNEMAR, NO_DIFFERENCE, SIGN_FLIP, WORSE
from motet_benchmarks.machine import Circumstances
from motet_benchmarks.strategies.report import tables
from motet_benchmarks.strategies.report.analysis import Analysis
from motet_benchmarks.strategies.report.diversity import DRAWS


def asked(found: Analysis) -> str:
    """What was asked of whom, where and when."""
    run = found.table.run
    problems = " and ".join(f"{task.problems:,} problems of {task.name}" for task in run.tasks)
    draws = f", up to {run.draws} answers to each" if run.draws > 1 else ""
    where = run.url or "a server started for it"
    return f"{len(run.strategies)} strategies on {problems}{draws}, asked of {where} (model {run.model})."


def where(recorded: Mapping[str, Any]) -> str:
    """The machine and versions, as a benchmark recorded them."""
    try:
        return Circumstances(**recorded).sentence()
    except (TypeError, AttributeError):  # recorded by another version
        return "; ".join(f"{name}: {value}" for name, value in recorded.items())


def cautions(found: Analysis) -> list[str]:
    """What a reader must know before trusting the figures."""
    run, recorded = found.table.run, found.recorded
    said = [f"Refused by the endpoint: {name}: {reason}" for name, reason in run.refused.items()]
    for task, name in ((task, name) for task in found.table.tasks for name in found.table.strategies):
        if refused := found.table.refused(task, name):
            of = len(refused) + len(found.table.each(task, name))
            said.append(
                f"{name}: the endpoint refused {len(refused):,} of {of:,} questions of {task}, which count as wrong "
                f"and in no cost or time; the first: {refused[0].refusal}"
            )
    if len(recorded.samples) < recorded.expected():
        said.append(
            f"The run isn't complete: {len(recorded.samples):,} of {recorded.expected():,} answers are there. "
            "Strategies are compared on the problems that both have answered; the same command asks for the rest."
        )
    if run.refused.get(run.strategies[0].name) is not None:
        said.append(
            f"{run.strategies[0].name}, which others were to be compared with, was refused; they are compared with "
            f"{found.table.first}."
        )
    return said


def findings(found: Analysis, task: str, metric: str) -> list[str]:
    """The best, who differs from the first, and the front."""
    scored = found.scored(task)
    first = found.table.first
    if not scored:
        return [f"{task} has no grader: there are rewards, texts, costs and latency alone."]
    best = max(scored, key=lambda line: line.score.value if line.score is not None else 0.0)
    said = []
    if best.score is not None:
        over = (
            ""
            if best.over_first is None
            else f": {tables.difference(best.over_first, 100)} points over {first}, {best.over_first.verdict}"
        )
        said.append(f"Highest {metric}: {best.strategy} with {tables.percent(best.score)} %{over}.")
    for verdict, words in (
        (BETTER, f"Better than {first}"),
        (WORSE, f"Worse than {first}"),
        (NO_DIFFERENCE, f"No clear difference from {first}"),
    ):
        names = [
            line.strategy
            for line in scored
            if line.over_first is not None and line.over_first.verdict == verdict
        ]
        if names:
            said.append(f"{words}: {'; '.join(names)}.")
    front = sorted(found.front(task, "forwards"), key=lambda name: found.cost(task, name).forwards.value)
    said.append(f"On the front of {metric} against tokens computed, cheapest first: {'; '.join(front)}.")
    return said


def methods(found: Analysis) -> list[str]:
    """How the figures were worked out."""
    compared = sum(line.over_first is not None for line in found.lines)
    families = sum(line.over_first is not None for line in found.families)
    return [
        f"Every strategy answers the same problems and is compared with {found.table.first} problem by problem, draws "
        "of a problem averaged. Differences have the percentile bootstrap's 95% interval over problems, 10,000 "
        "resamples; a score its Wilson interval where every problem is right or wrong, else the bootstrap's.",
        f"Tests are two-sided: {MCNEMAR} where every problem is right or wrong, else a {SIGN_FLIP} test of the "
        "problems' differences. p-values are corrected for their number by Benjamini and Hochberg: the "
        f"{compared} comparisons of scores as one set, the {families} of families as another, those of rewards as a "
        f"third. A verdict is given where the corrected p is at most {LEVEL:g}; of such verdicts no more than "
        f"{100 * LEVEL:.0f}% are expected to be wrong. Intervals aren't corrected.",
        "The highest of many scores is partly luck: on other problems the same strategy scores somewhat less.",
        "Forwards are the tokens that all models and voices computed, prompts among them. A strategy is on the front "
        "where none is as good and cheaper, or better and as cheap, by the measured means and without regard to "
        "intervals.",
        "Latency is seen from the client, with as many requests at once as the run had. p50 and p99 have exact "
        "intervals from order statistics; a question mark is a bound that so few requests don't give. What best-of has "
        "chosen comes at once: its first token is its last one, and there is no time of each further one.",
        "distinct-n is the share of n-grams of words that are no repeats, self-BLEU the mean BLEU-4 of a text against "
        f"the others (smoothed by method 1 of Chen and Cherry): over the {DRAWS}, averaged, where a strategy has "
        "several, else over the answers to all problems. The two can't be compared, and more and longer texts repeat "
        "more.",
        "A win is a higher reward than that of the first strategy's answer to the same problem, a tie half of one.",
    ]
