"""What a reader wants to know first, and how it was found out, in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from motet_benchmarks.comparisons import BETTER, LEVEL, MCNEMAR, NO_DIFFERENCE, SIGN_FLIP, WORSE
from motet_benchmarks.machine import Circumstances
from motet_benchmarks.strategies.report import tables
from motet_benchmarks.strategies.report.analysis import ALIKE, Analysis
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


def findings(found: Analysis, task: str, metric: str) -> list[str]:
    """The best, who differs from the first, and the front: by score, or by reward where there is no grader."""
    ranked, graded = found.ranked(task), bool(found.scored(task))
    said = [] if graded else [f"{task} has no grader: there are rewards, texts, costs and latency alone."]
    if not ranked:
        return said
    compared = {
        each.strategy: each.over_first
        for each in (found.lines if graded else found.likings)
        if each.task == task and each.over_first is not None
    }
    first, metric, scale = found.table.first, metric if graded else "reward", 100 if graded else 1
    points = " points" if graded else ""

    named = partial(found.named, task)
    best = max(ranked, key=lambda name: ranked[name].value)
    mark = f"{tables.percent(ranked[best])} %" if graded else tables.figure(ranked[best])
    over = (
        f": {tables.difference(compared[best], scale)}{points} over {first}, {compared[best].verdict}"
        if best in compared
        else ""
    )
    said.append(f"Highest {metric}: {named(best)} with {mark}{over}.")
    for verdict, words in (
        (BETTER, f"Better than {first}"),
        (WORSE, f"Worse than {first}"),
        (NO_DIFFERENCE, f"No clear difference from {first}"),
    ):
        names = [named(name) for name, each in compared.items() if each.verdict == verdict]
        if names:
            said.append(f"{words}: {'; '.join(names)}.")
    front = sorted(found.front(task, "forwards"), key=lambda name: found.cost(task, name).forwards.value)
    said.append(
        f"On the front of {metric} against tokens computed, cheapest first: {'; '.join(map(named, front))}."
    )
    same: dict[str, list[str]] = {}
    for name, earlier in found.table.twins(task).items():
        same.setdefault(earlier, []).append(name)
    said += [f"Same answers as {earlier}: {'; '.join(names)}." for earlier, names in same.items()]
    return said


def methods(found: Analysis) -> list[str]:
    """How the figures were worked out."""
    compared = sum(line.over_first is not None for line in found.lines)
    families = sum(line.over_first is not None for line in found.families)
    return [
        f"Every strategy answers the same problems and is compared with {found.table.first} problem by problem, draws "
        "of a problem averaged. Intervals are 95% ones over problems: of scores, win rates and other shares Wilson's, "
        "with the effective number of problems where several draws make parts of them (Korn and Graubard); of "
        "differences of scores Bonett and Price's where every problem is right or wrong, else Newcombe's hybrid score "
        "interval; of rewards and their differences Student's; of tokens the percentile bootstrap's, 10,000 resamples. "
        "A mean stands alone where all figures are the same, or there is but one; a question mark is a bound that the "
        "problems say nothing of.",
        f"Tests are two-sided: {MCNEMAR} where every problem is right or wrong, else a {SIGN_FLIP} test of the "
        "problems' differences. p-values are corrected for their number by Benjamini and Hochberg: the "
        f"{compared} comparisons of scores as one set, the {families} of families as another, those of rewards as a "
        f"third. A verdict is given where the corrected p is at most {LEVEL:g}; of one set's verdicts no more than "
        f"{100 * LEVEL:.0f}% are expected to be wrong. Intervals aren't corrected, and an interval is no test turned "
        "round: one may just leave out 0 where the other sees no clear difference.",
        "The highest of many scores is partly luck: on other problems the same strategy scores somewhat less.",
        "Forwards are the tokens that all models and voices computed, prompts among them. An amateur's count in full "
        "although it is smaller, and candidates share their prompt. With early rejection or steps nobody tells how "
        "often partial answers were read: each candidate is counted as read once, and ≥ marks the least that it can "
        "have been. A strategy is on the front where none is as good and cheaper, or better for at most "
        f"{100 * ALIKE:g}% more, by the measured means and without regard to intervals; of strategies with the same "
        "answers at the same cost it is the first one.",
        f"Latency is seen from the client, {_load(found)}. p50 and p99 have intervals from order statistics, as if "
        "requests were independent: those at the same time, and draws of a problem, have some luck in common, so that "
        "the true intervals are somewhat wider. A question mark is a bound that so few requests don't give. What "
        "best-of has chosen comes at once: its first token is its last one, and there is no time of each further one. "
        "Wall time is that from a strategy's first request to its last answer, all sittings together, and tokens/s "
        "what was generated in it by all requests at once, candidates that weren't chosen among it.",
        "distinct-n is the share of n-grams of words that are no repeats, self-BLEU the mean BLEU-4 of a text against "
        f"the others (smoothed by method 1 of Chen and Cherry): over the {DRAWS}, averaged, where a strategy has "
        "several, else over the answers to all problems. The two can't be compared, and more and longer texts repeat "
        "more.",
        "A win is a higher reward than that of the first strategy's answer to the same problem, a tie half of one. "
        "Wins have an interval and no test of their own: what is tested is the difference of rewards.",
    ]


def _load(found: Analysis) -> str:
    run = found.table.run
    many = (
        "as many requests at once as the run had"
        if run.concurrency is None
        else f"up to {run.concurrency} requests at once"
    )
    first = "" if run.warm_up is None else f", after {run.warm_up} answers of each strategy that don't count"
    return f"with {many}{first}"
