"""The overhead benchmark's table, page, plot and files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from motet_benchmarks import results
from motet_benchmarks.machine import Circumstances
from motet_benchmarks.overhead import lines as ratios
from motet_benchmarks.overhead.lines import Line, lines, speeds
from motet_benchmarks.overhead.rounds import ARRIVALS, FEWEST_BATCHES, FEWEST_REQUESTS, RUSH, Plan
from motet_benchmarks.overhead.samples import FORWARD, Measured
from motet_benchmarks.overhead.workload import LONGEST
from motet_benchmarks.results import Grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STEM = "overhead"


def ratio_grid(found: Sequence[Line], rounds: int) -> Grid:
    """The ratios, their aims and whether these are met."""
    return Grid(
        f"Overhead: median of {rounds} rounds side by side [95% interval]",
        ("ratio", "batch", "measured", "aim", ""),
        tuple(
            (line.name, str(line.batch), str(line.ratio), f">= {line.aim}" if line.aim else "", line.verdict)
            for line in found
        ),
    )


def speed_grid(measured: Measured) -> Grid:
    """Tokens per second of every arm."""
    return Grid(
        "Tokens per second on this machine, for scale",
        ("arm", "workload", "batch", "tokens/s"),
        tuple(
            (arm, workload, str(batch), f"{speed.value:,.0f} [{speed.low:,.0f}, {speed.high:,.0f}]")
            for workload, arm, batch, speed in speeds(measured.samples)
        ),
    )


def write(
    folder: Path, plan: Plan, models: dict[str, str], measured: Measured, where: Circumstances
) -> tuple[list[Grid], list[Path]]:
    """Write overhead.json, .csv, .md and .png into `folder`; returns the tables in them and the paths."""
    found = lines(measured.samples)
    grids = [ratio_grid(found, measured.rounds), speed_grid(measured)]
    facts = {
        "circumstances": asdict(where),
        "models": models,
        "plan": {**asdict(plan), "contrast": plan.contrast.model_dump()},
        "rounds": measured.rounds,
        "abandoned": [asdict(one) for one in measured.abandoned],
        "agreeing": measured.agreeing,
        "compared": measured.compared,
        "ratios": [{**asdict(line), "verdict": line.verdict} for line in found],
        "speeds": [
            {"workload": workload, "arm": arm, "batch": batch, "tokens_per_second": asdict(speed)}
            for workload, arm, batch, speed in speeds(measured.samples)
        ],
    }
    paths = results.write(
        folder,
        STEM,
        facts=facts,
        samples=measured.samples,
        markdown=page(grids, plan, models, measured, where),
        figure=plot(found),
    )
    return grids, paths


def page(
    grids: Sequence[Grid], plan: Plan, models: dict[str, str], measured: Measured, where: Circumstances
) -> str:
    """The Markdown page: how it was measured, then the tables."""
    named = ", ".join(f"{name} ({server})" for server, name in models.items())
    parts = [
        "# Overhead",
        f"`{where.command}` on {where.sentence()}.",
        f"Servers: {named}, in {plan.dtype or 'their own precision'}. Greedy, {plan.tokens} tokens an answer; contrast "
        f"of strength {plan.contrast.strength:g} and plausibility {plan.contrast.plausibility:g}. Every arm of a line "
        f"was measured in every one of {measured.rounds} rounds on the same prompts, in alternating order, after a "
        f"round to warm up; no two prompts share a beginning. A batch is sent at once and awaited, {FEWEST_BATCHES} "
        f"times or up to {FEWEST_REQUESTS} requests. {plan.rounds} rounds were planned, in at most {plan.minutes:g} "
        "minutes.",
    ]
    parts += [
        f"Round {one.round} was abandoned, and nothing measured in it counts: {one.reason}"
        for one in measured.abandoned
    ]
    if any(sample.workload == FORWARD for sample in measured.samples):
        parts.append(
            "The models' own cost is measured beside the servers, in transformers: the time of the expert's and of the "
            f"amateur's forward passes for {plan.tokens} tokens after each prompt of a batch, one new token at a time "
            "with a key-value cache, step by step in turn. A server's time for a token is more than forward passes, "
            "so contrast can cost less than the models' own cost says."
        )
    if measured.compared:
        parts.append(
            f"The transformers loop is `generate` with the amateur in a logits processor. Arriving: {ARRIVALS} "
            f"requests for each place of the batch come {RUSH:g} times as fast as the server answers, with answers of "
            f"exponential length up to {LONGEST} times the mean; the loop's batches wait for their longest, the "
            f"server fills a place that falls free, neither holds more than the batch. Server and loop gave the same "
            f"answer to {measured.agreeing} of {measured.compared} prompts sent together."
        )
    for grid in grids:
        parts += [f"## {grid.title}", grid.markdown()]
    parts.append(f"![ratios]({STEM}.png)")
    return "\n\n".join(parts)


def plot(found: Sequence[Line]) -> Figure:
    """Three panels: plain on the pair, contrast beside its cost, server against loop."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4), layout="constrained")
    plain, cost, loop = figure.subplots(1, 3)
    _curve(plain, found, ratios.PLAIN, "plain on the pair", "C0")
    plain.axhline(ratios.PLAIN_AIM, color="grey", linestyle=":", label=f"aim {ratios.PLAIN_AIM}")
    plain.set_title("Plain requests: pair / expert alone")
    _curve(cost, found, ratios.CONTRAST, "contrast / plain", "C0")
    if any(line.name == ratios.COST for line in found):
        _curve(cost, found, ratios.COST, "expert / (expert + amateur)", "C1")
    cost.set_title("Contrast, and what the models cost")
    for axes in (plain, cost):
        batches = sorted({line.batch for line in found if line.name == ratios.PLAIN})
        axes.set_xscale("log", base=2)
        axes.set_xticks(batches, [str(batch) for batch in batches])
        axes.set_xlabel("batch")
        axes.set_ylim(bottom=0)
        axes.legend()
    bars = [line for line in found if line.name in (ratios.LOOP_TOGETHER, ratios.LOOP_ARRIVING)]
    names = [f"{line.name.rpartition(', ')[2]}\nbatch {line.batch}" for line in bars]
    loop.bar(names, [line.ratio.value for line in bars], yerr=_errors(bars), capsize=4)
    for place, line in enumerate(bars):
        loop.hlines(line.aim or 0, place - 0.4, place + 0.4, color="grey", linestyle=":")
    loop.set_title("Contrast: server / transformers loop" if bars else "Transformers loop not measured")
    return figure


def _curve(axes: Axes, found: Sequence[Line], name: str, label: str, colour: str) -> None:
    points = sorted((line for line in found if line.name == name), key=lambda line: line.batch)
    axes.errorbar(
        [line.batch for line in points],
        [line.ratio.value for line in points],
        yerr=_errors(points),
        marker="o",
        capsize=3,
        label=label,
        color=colour,
    )


def _errors(points: Sequence[Line]) -> list[list[float]]:
    below = [line.ratio.value - line.ratio.low for line in points]
    above = [line.ratio.high - line.ratio.value for line in points]
    return [below, above]
