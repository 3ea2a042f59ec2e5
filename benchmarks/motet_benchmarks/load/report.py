"""The load generator's tables, page and files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from motet_benchmarks import results
from motet_benchmarks.load.figures import blocks_of
from motet_benchmarks.load.plot import plot
from motet_benchmarks.load.records import METRICS, STEM, Client, Figures, Load, Metric, Sample
from motet_benchmarks.machine import Circumstances
from motet_benchmarks.results import Grid
from motet_benchmarks.statistics import Interval

#: What wide tables call the latencies, and what that means.
SHORT: Mapping[Metric, str] = {"first token": "TTFT", "per token": "TPOT", "end to end": "E2E"}
KEY = "TTFT: to the first token, TPOT: for each further one, E2E: to the end"
#: Below so many requests their 99th percentile says little.
FEWEST = 100


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
        ("load", "requests", "offered", "completed", "goodput", "tokens/s", "tokens an answer", "failed"),
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
        ("load", "requests", "completed", "goodput", *heads, "failed"),
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
    parts = ["# Serving under load", f"`{load.command}` on {where.sentence()}.", *_method(load)]
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


def _method(load: Load) -> list[str]:
    whole = sum(member.share for member in load.mix)
    mix = ", ".join(f"{member.strategy.name} {member.share / whole:.0%}" for member in load.mix)
    servers = ", ".join(f"{server.name} ({server.model})" for server in load.servers)
    told = [
        f"{name} within {1000 * limit:g} ms"
        for name, limit in (
            ("the first token", load.targets.first_token),
            ("further tokens, on average,", load.targets.per_token),
            ("the whole answer", load.targets.end_to_end),
        )
        if limit is not None
    ]
    closed = load.steps[0].rate is None
    come = (
        "A closed loop: so many clients ask, wait for the answer and ask again; a server that is slower is asked less."
        if closed
        else "An open loop: requests come as a Poisson process, whatever became of those before. A latency counts from "
        "the moment at which its request was due, waiting for the client included."
    )
    turns = (
        f" in {load.segments} turns each, in alternating order, on the same "
        f"{'requests in the same order' if closed else 'arrivals'}"
        if len(load.servers) > 1
        else f" in {load.segments} turns"
        if load.segments > 1
        else ""
    )
    length = f"{'exactly' if load.exact else 'at most'} {load.tokens} tokens"
    return [
        f"Servers: {servers}. {come} The mix: {mix}. Prompts: {load.prompts}. Answers of {length}, "
        f"{'streamed' if load.stream else 'unstreamed'}. Each server was measured for {load.seconds:g} s in each "
        f"step{turns}, after {load.warm_up:g} s to warm up in each turn. Seed {load.seed}.",
        "Offered: requests due while it was measured. Completed: answers that ended then. Failed: refused, broken off, "
        f"or without a whole answer {load.timeout:g} s after it was due; latencies are of the others. "
        + (f"Goodput: requests answered with {' and '.join(told)}. " if told else "")
        + "Best-of answers have no latency per token, as they are streamed once all candidates are there. Intervals "
        f"are the bootstrap's over {blocks_of(load.segments)} blocks of time in each step, since requests that are "
        "near each other share a queue. The client may share the machine with the server.",
    ]


def _place(load: Load, one: Figures | Client) -> str:
    return f"{load.steps[one.step]}, {one.server}" if len(load.servers) > 1 else str(load.steps[one.step])


def _failures(one: Figures) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in one.failures.items())


def _milliseconds(each: Interval) -> str:
    return f"{1000 * each.value:,.1f} [{1000 * each.low:,.1f}, {1000 * each.high:,.1f}]"
