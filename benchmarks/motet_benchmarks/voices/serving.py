"""The tables, plot and files of what groups and layers cost to serve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from motet_benchmarks import results
from motet_benchmarks.machine import Circumstances
from motet_benchmarks.results import Grid
from motet_benchmarks.voices.duels import DUELS, FEWEST, OPTIONS, Sample
from motet_benchmarks.voices.paces import Pace, Ratio, paces, ratios
from motet_benchmarks.voices.plan import Plan

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEM = "voices-serving"


@dataclass(frozen=True, slots=True)
class Served:
    """What was measured."""

    samples: tuple[Sample, ...]
    idle: float | None
    """The share of the machine's cores that was busy while both servers waited, from 0 to 1; None if unknown."""


def ratio_grid(found: Sequence[Ratio]) -> Grid:
    """The ratios, their aims and whether these are met."""
    return Grid(
        f"Ratios of tokens per second: medians of {found[0].rounds} rounds side by side [95% interval]",
        ("ratio", "clients", "measured", "least and most", "aim", ""),
        tuple(
            (
                one.duel,
                str(one.clients),
                str(one.ratio),
                f"{one.least:.2f}, {one.most:.2f}",
                f">= {one.aim}" if one.aim else "",
                one.verdict,
            )
            for one in found
        ),
    )


def pace_grid(found: Sequence[Pace]) -> Grid:
    """Each arm's own pace."""
    return Grid(
        "On this machine, for scale [95% interval]",
        ("arm", "clients", "rows", "tokens/s, all rows", "milliseconds a step"),
        tuple(
            (
                one.arm,
                str(one.clients),
                str(one.rows),
                f"{one.tokens.value:,.0f} [{one.tokens.low:,.0f}, {one.tokens.high:,.0f}]",
                str(one.step),
            )
            for one in found
        ),
    )


def write(folder: Path, plan: Plan, served: Served, where: Circumstances) -> tuple[list[Grid], list[Path]]:
    """Write voices-serving.json, .csv, .md and .png into `folder`; returns the tables in them and the paths."""
    found, own = ratios(served.samples), paces(served.samples)
    grids = [ratio_grid(found), pace_grid(own)]
    paths = results.write(
        folder,
        STEM,
        facts={
            "circumstances": asdict(where),
            "plan": {
                "clients": plan.clients,
                "tokens": plan.tokens,
                "rounds": plan.rounds,
                "minutes": plan.minutes,
                "seed": plan.seed,
            },
            "servers": OPTIONS,
            "duels": [asdict(duel) for duel in DUELS],
            "idle": served.idle,
            "ratios": [{**asdict(one), "verdict": one.verdict} for one in found],
            "paces": [asdict(one) for one in own],
        },
        samples=served.samples,
        markdown=page(grids, plan, served, where),
        figure=plot(found),
    )
    return grids, paths


def page(grids: Sequence[Grid], plan: Plan, served: Served, where: Circumstances) -> str:
    """How it was measured, then the tables."""
    rounds = len({sample.round for sample in served.samples})
    idle = (
        "How busy they kept the machine while they waited isn't known here."
        if served.idle is None
        else f"While both waited for the first request the machine's cores were busy for {served.idle:.1%} of the "
        "time, so a waiting server takes nothing that counts from the one that answers."
        if served.idle < 0.02
        else f"While both waited for the first request the machine's cores were busy for {served.idle:.1%} of the "
        "time: these figures are disturbed, by a waiting server or by others at work."
    )
    parts = [
        "# Serving groups and layers",
        f"`{where.command}` on {where.sentence()}.",
        "Two servers with the bundled models: one holds groups in lockstep, as it does by default, the other was "
        "started with `--max-voices 0`, and so has vLLM's own scheduler. They run at the same time, and only one of "
        f"them is asked at a time. {idle}",
        f"In every one of {rounds} rounds, after one to warm up, both arms of each ratio are measured in short blocks "
        "of alternating order (A B B A, then B A A B), on the same problems, each behind a number of its own, so "
        f"that no prefix is cached. A block is {FEWEST} or as many answers as there are clients, greedy, of "
        f"{plan.tokens} tokens, all clients at once. The ratio of a round is of both blocks of each arm; the "
        "interval is the bootstrap's over rounds. Clients share the machine with the servers. "
        f"{plan.rounds} rounds were planned, in at most {plan.minutes:g} minutes.",
        "A group of two voices is two sequences for the engine: a request for one is compared with two independent "
        "requests, one for each voice, sent at once, so both arms have as many rows in every forward pass and read the "
        "same prompts. Tokens per second count all rows, those of voices that nobody sees too. The answer of a group, "
        "or against layers, is also compared with one plain answer: what the contrast costs whoever asks.",
    ]
    for grid in grids:
        parts += [f"## {grid.title}", grid.markdown()]
    parts += [
        "## What was not run",
        "- Groups of more than two voices, streaming, and sampled answers.\n- A GPU, and models of a useful size.",
        f"![ratios]({STEM}.png)",
    ]
    return "\n\n".join(parts)


def plot(found: Sequence[Ratio]) -> Figure:
    """Every ratio with its interval, by clients."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    names = list(dict.fromkeys(one.duel for one in found))
    for place, name in enumerate(names):
        own = sorted((one for one in found if one.duel == name), key=lambda one: one.clients)
        axes.errorbar(
            [one.clients * 1.04 ** (place - len(names) / 2) for one in own],
            [one.ratio.value for one in own],
            yerr=[
                [one.ratio.value - one.ratio.low for one in own],
                [one.ratio.high - one.ratio.value for one in own],
            ],
            marker="o",
            capsize=3,
            color=f"C{place}",
            label=name,
        )
        if own[0].aim is not None:
            axes.axhline(own[0].aim, color=f"C{place}", linestyle=":", linewidth=0.8)
    clients = sorted({one.clients for one in found})
    axes.set_xscale("log", base=2)
    axes.set_xticks(clients, [str(many) for many in clients])
    axes.set_xlabel("clients")
    axes.set_ylabel("ratio of tokens per second; dotted: aims")
    axes.set_ylim(bottom=0)
    figure.legend(loc="outside lower center", fontsize="small")
    return figure
