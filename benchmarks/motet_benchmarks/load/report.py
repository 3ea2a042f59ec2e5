"""The load generator's tables, page and files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from motet_benchmarks import results
from motet_benchmarks.load.method import SHORT, method
from motet_benchmarks.load.plot import plot
from motet_benchmarks.load.records import METRICS, STEM, Client, Figures, Load
from motet_benchmarks.load.samples import Sample
from motet_benchmarks.machine import Circumstances
from motet_benchmarks.results import Grid
from motet_benchmarks.statistics import Interval

#: What the short names of latencies mean.
KEY = "TTFT: to the first token, TPOT: for each further one, E2E: to the end"
#: Below so many requests their 99th percentile says little.
FEWEST = 100
#: A queue grows where the last requests of a step take so many times as long as the first.
GROWN = 1.5


def rate_grid(load: Load) -> Grid:
    """What was asked and what came, by step and server."""
    rows = [
        (
            _place(load, one),
            str(one.requests),
            f"{one.offered:.2f}",
            f"{one.completed:.2f}",
            "" if one.goodput is None else str(one.goodput),
            f"{one.tokens:,.0f}",
            "" if one.answer_tokens is None else f"{one.answer_tokens:.1f}",
            _failures(one),
        )
        for one in load.figures
        if one.member is None
    ]
    return Grid(
        "Requests a second, all members of the mix together [95% interval]",
        ("load", "requests", "offered", "throughput", "goodput", "tokens/s", "tokens an answer", "failed"),
        tuple(rows),
    )


def latency_grid(load: Load) -> Grid:
    """Percentiles of every latency, by step and server."""
    rows = [
        (
            f"{_place(load, one)}: {metric}",
            *(_milliseconds(each) for each in (found.p50, found.p90, found.p99)),
        )
        for one in load.figures
        if one.member is None
        for metric, found in one.latency.items()
    ]
    return Grid("Latency in milliseconds [95% interval]", ("load", "p50", "p90", "p99"), tuple(rows))


def member_grid(load: Load) -> Grid:
    """The same by member of the mix, without intervals."""
    heads = [f"{short} {name}" for short in SHORT.values() for name in ("p50", "p99")]
    rows = []
    for one in load.figures:
        if one.member is None:
            continue
        cells = []
        for metric in METRICS:
            found = one.latency.get(metric)
            cells += (
                ["", ""]
                if found is None
                else [f"{1000 * each.value:,.1f}" for each in (found.p50, found.p99)]
            )
        goodput = "" if one.goodput is None else f"{one.goodput.value:.2f}"
        place = f"{_place(load, one)}: {one.member}"
        rows.append((place, str(one.requests), f"{one.completed:.2f}", goodput, *cells, _failures(one)))
    return Grid(
        f"By member of the mix: requests a second, latency in milliseconds ({KEY})",
        ("load", "requests", "throughput", "goodput", *heads, "failed"),
        tuple(rows),
    )


def ratio_grid(load: Load) -> Grid:
    """Every other server over the first, by step and member."""
    figures = {"goodput": "goodput"} if any(one.figure == "goodput" for one in load.ratios) else {}
    for metric, short in SHORT.items():
        figures |= {f"{metric} {name}": f"{short} {name}" for name in ("p50", "p99")}
    known = {(one.step, one.server, one.member, one.figure): str(one.ratio) for one in load.ratios}
    rows = []
    for step, server, member in dict.fromkeys((one.step, one.server, one.member) for one in load.ratios):
        place = f"{load.steps[step]}, {server} / {load.servers[0].name}: {member or 'all'}"
        rows.append((place, *(known.get((step, server, member, figure), "") for figure in figures)))
    title = f"Ratios, side by side [95% interval] ({KEY})"
    return Grid(title, ("load", *figures.values()), tuple(rows))


def grids(load: Load) -> list[Grid]:
    """The tables that have something to say."""
    found = [rate_grid(load), latency_grid(load), member_grid(load), ratio_grid(load)]
    return [grid for grid in found if grid.rows]


def write(
    folder: Path, load: Load, samples: Sequence[Sample], where: Circumstances
) -> tuple[list[Grid], list[Path]]:
    """Write load.json, .csv, .md and .png into `folder`; returns the tables in them and the paths.

    Raises BenchmarkError if the files can't be written.
    """
    tables = grids(load)
    paths = results.write(
        folder,
        STEM,
        facts=load.model_dump(mode="json"),
        samples=samples,
        markdown=page(load, tables, where),
        figure=plot(load),
    )
    return tables, paths


def page(load: Load, tables: Sequence[Grid], where: Circumstances) -> str:
    """How it was measured, then the tables."""
    parts = ["# Serving under load", f"`{load.command}` on {where.sentence()}.", *method(load)]
    if lines := remarks(load):
        parts += ["## To be known", "\n".join(f"- {line}" for line in lines)]
    for grid in tables:
        parts += [f"## {grid.title}", grid.markdown()]
    parts.append(f"![latency and goodput against the load]({STEM}.png)")
    return "\n\n".join(parts)


def remarks(load: Load) -> list[str]:
    """What disturbs the figures, and what isn't in them."""
    found = [
        f"{load.steps[one.step]}, {one.server}: {one.complaint}."
        for one in load.client
        if one.complaint is not None
    ]
    told = {one.step for one in load.figures}
    if len(told) < len(load.steps):
        found.append(
            f"The run breaks off before the last {len(load.steps) - len(told)} of {len(load.steps)} steps."
        )
    found += [
        f"{member} is left out everywhere, as {server} refuses it: {reason}"
        for member, reasons in load.refused.items()
        for server, reason in reasons.items()
    ]
    found += [
        f"{_place(load, one)}: answers have {one.answer_tokens:.1f} tokens on average where ignore_eos was to give "
        f"them {load.tokens}, so they are cheaper."
        for one in load.figures
        if load.exact
        and one.member is None
        and one.answer_tokens is not None
        and one.answer_tokens < load.tokens - 0.05
    ]
    found += _unsteady(load)
    found += _of_answers(load)
    few = [one.requests for one in load.figures if one.member is None and one.requests < FEWEST]
    if few:
        found.append(
            f"p99 of fewer than {FEWEST} requests is nearly the slowest of them; a step had as few as {min(few)}."
        )
    found += [
        f"{server}, the first {kind}: {said}"
        for server, kinds in load.errors.items()
        for kind, said in kinds.items()
    ]
    return found


def _unsteady(load: Load) -> list[str]:
    """Where a server hadn't settled down while it was measured."""
    found = []
    for one in load.figures:
        latency = one.latency.get("end to end")
        if one.member is not None or latency is None:
            continue
        # On a ramp the later parts come after those before.
        if latency.p90.value > load.warm_up and not (load.ramp and one.step):
            found.append(
                f"{_place(load, one)}: a tenth of the answers took more than {latency.p90.value:.1f} s, and --warm-up "
                f"was {load.warm_up:g} s: the first ones may have met a server that wasn't yet under the whole load."
            )
        if one.growth is not None and one.growth > GROWN:
            found.append(
                f"{_place(load, one)}: the last third of the requests took {one.growth:.1f} times as long as the first "
                "(medians): a queue was still growing, so that latencies depend on --seconds."
            )
    return found


def _of_answers(load: Load) -> list[str]:
    """Which figures mean something else for a server, by what its answers lack."""
    found = [
        f"{server}: {count:,} answers came in one piece although streams were asked for: their first token came with "
        "their last."
        for server, count in load.at_once.items()
    ]
    found += [
        f"{server}: the tokens of {count:,} answers are the pieces of their streams, as it tells no usage."
        for server, count in load.counted.items()
    ]
    if load.inexact is not None:
        found.append(f"Answers end by themselves on every server, as one refuses ignore_eos: {load.inexact}")
    return found


def _place(load: Load, one: Figures | Client) -> str:
    return f"{load.steps[one.step]}, {one.server}" if len(load.servers) > 1 else str(load.steps[one.step])


def _failures(one: Figures) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in one.failures.items())


def _milliseconds(each: Interval) -> str:
    return f"{1000 * each.value:,.1f} [{1000 * each.low:,.1f}, {1000 * each.high:,.1f}]"
