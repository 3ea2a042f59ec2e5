"""The PPO benchmark's tables, page, plot and files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from motet_benchmarks import results
from motet_benchmarks.machine import Circumstances
from motet_benchmarks.overhead.lines import Line
from motet_benchmarks.ppo.lines import (
    AIM,
    ANSWERS,
    idle,
    iterations_per_hour,
    lines,
    loading,
    speed,
)
from motet_benchmarks.ppo.plan import Plan
from motet_benchmarks.ppo.samples import ARMS, ENGINE, LOOP, SAMPLERS, Measured
from motet_benchmarks.results import Grid
from motet_benchmarks.statistics import Interval, median

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEM = "ppo"


def ratio_grid(found: Sequence[Line]) -> Grid:
    """The ratios, their aims and whether these are met."""
    return Grid(
        "PPO: the engine against transformers, medians side by side [95% interval]",
        ("ratio", "prompts at once", "measured", "aim", ""),
        tuple(
            (
                line.name,
                str(line.batch),
                str(line.ratio),
                f">= {line.aim:g}" if line.aim else "",
                line.verdict,
            )
            for line in found
        ),
    )


def speed_grid(measured: Measured) -> Grid:
    """Tokens per second of each arm."""
    return Grid(
        "Rollout tokens per second on this machine, for scale",
        ("prompts at once", *ARMS, "idle in a static batch"),
        tuple(
            (
                str(batch),
                *(_whole(speed(measured, arm, batch)) for arm in ARMS),
                f"{idle(measured, batch):.0%}",
            )
            for batch in measured.batches()
        ),
    )


def loop_grid(measured: Measured) -> Grid:
    """Iterations per hour, and the seconds in them."""
    rows = []
    for arm in SAMPLERS:
        samples = measured.of(LOOP, arm)
        rows.append(
            (
                arm,
                str(samples[0].batch),
                _whole(median(iterations_per_hour(samples))),
                str(median([sample.seconds for sample in samples])),
                str(median([sample.other for sample in samples])),
            )
        )
    return Grid(
        "The whole loop on this machine, rollouts by either",
        (
            "rollouts by",
            "prompts an iteration",
            "iterations per hour",
            "seconds of rollouts",
            "seconds of the rest",
        ),
        tuple(rows),
    )


def write(
    folder: Path, plan: Plan, measured: Measured, where: Circumstances
) -> tuple[list[Grid], list[Path]]:
    """Write ppo.json, .csv, .md and .png into `folder`; returns the tables in them and the paths."""
    found = lines(measured)
    looped = bool(measured.of(LOOP, ENGINE))
    grids = [ratio_grid(found), speed_grid(measured), *([loop_grid(measured)] if looped else [])]
    facts = {
        "circumstances": asdict(where),
        "plan": asdict(plan),
        "rounds": measured.rounds,
        "ratios": [{**asdict(line), "verdict": line.verdict} for line in found],
        "speeds": [
            {"arm": arm, "batch": batch, "tokens_per_second": asdict(speed(measured, arm, batch))}
            for batch in measured.batches()
            for arm in ARMS
        ],
        "idle": {str(batch): idle(measured, batch) for batch in measured.batches()},
        "loading_seconds": asdict(loading(measured)),
        "agreement": measured.agreement,
    }
    paths = results.write(
        folder,
        STEM,
        facts=facts,
        samples=measured.samples,
        markdown=page(grids, plan, measured, where),
        figure=plot(measured, found),
    )
    return grids, paths


def page(grids: Sequence[Grid], plan: Plan, measured: Measured, where: Circumstances) -> str:
    """The Markdown page: how it was measured, then the tables."""
    parts = [
        "# PPO: rollouts and the loop",
        f"`{where.command}` on {where.sentence()}.",
        "The bundled expert with `motet-sft` answers the same training problems of the gym with the same seeds, at "
        f"temperature 1, in up to {plan.max_answer} tokens; {plan.worked:.0%} of those that have worked steps ask for "
        "them, so lengths vary. A batch is asked for in one call and awaited, in turn from the engine sampler, from "
        "the transformers sampler, which draws each row by its own seed and parts large batches, and from `generate` "
        f"as transformers has it, in one static batch; in {measured.rounds} rounds after one to warm up "
        f"({plan.rounds} were planned, in at most {plan.minutes:g} minutes). In a static batch a row waits until the "
        "longest answer has ended; the last column of the second table is the part of its steps that nobody asked for.",
        "The reference's log-probabilities are those of the engine's answers under `motet-sft`: out of the training "
        "process, in microbatches, as training takes them, and out of the engine as prompt log-probabilities.",
        f"Before each round the engine took the policy as a version that it had not seen, in {loading(measured)} "
        "seconds, which are not in the tokens per second.",
    ]
    if measured.of(LOOP, ENGINE):
        apart = "" if measured.agreement is None else f" {measured.agreement:.1e}"
        parts.append(
            "The loop: what `motet train ppo` runs from `motet-sft` against `motet-reward`, by each sampler in turn "
            f"and {plan.loop_rounds} times, {plan.iterations} iterations each, of which the first doesn't count. "
            "Saving, evaluating and starting up are not in it, loading the new version is part of the rollouts' "
            f"seconds. A token's log-probabilities in the engine and in training differ by{apart} nats on average."
        )
    for grid in grids:
        parts += [f"## {grid.title}", grid.markdown()]
    parts.append(f"![ratios and seconds]({STEM}.png)")
    return "\n\n".join(parts)


def plot(measured: Measured, found: Sequence[Line]) -> Figure:
    """Three panels: the ratio and the tokens per second by batch, and where an iteration's seconds go."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4), layout="constrained")
    ratios, speeds, loop = figure.subplots(1, 3)
    points = [line for line in found if line.name == ANSWERS]
    ratios.errorbar(
        [line.batch for line in points],
        [line.ratio.value for line in points],
        yerr=_errors([line.ratio for line in points]),
        marker="o",
        capsize=3,
        color="C0",
    )
    ratios.axhline(AIM, color="grey", linestyle=":", label=f"aim {AIM:g}")
    ratios.set_title("Rollout tokens/s: engine / transformers' generate")
    batches = measured.batches()
    for place, arm in enumerate(ARMS):
        shown = [speed(measured, arm, batch) for batch in batches]
        speeds.errorbar(
            batches, [one.value for one in shown], yerr=_errors(shown), marker="o", capsize=3, label=arm,
            color=f"C{place}",
        )  # fmt: skip
    speeds.set_title("Rollout tokens per second")
    for axes in (ratios, speeds):
        axes.set_xscale("log", base=2)
        axes.set_xticks(batches, [str(batch) for batch in batches])
        axes.set_xlabel("prompts at once")
        axes.set_ylim(bottom=0)
        axes.legend()
    if measured.of(LOOP, ENGINE):
        answering, rest = (
            [median([getattr(sample, part) for sample in measured.of(LOOP, arm)]).value for arm in SAMPLERS]
            for part in ("seconds", "other")
        )
        loop.bar(SAMPLERS, answering, label="rollouts", color="C0")
        loop.bar(SAMPLERS, rest, bottom=answering, label="rewards, experience, update", color="C1")
        loop.set_ylabel("seconds an iteration")
        loop.legend()
        loop.set_title("An iteration's seconds, rollouts by either")
    else:
        loop.set_axis_off()
    return figure


def _errors(figures: Sequence[Interval]) -> list[list[float]]:
    return [[one.value - one.low for one in figures], [one.high - one.value for one in figures]]


def _whole(figure: Interval) -> str:
    return f"{figure.value:,.0f} [{figure.low:,.0f}, {figure.high:,.0f}]"
