"""``motet bench all``: the short default on the bundled models, one report of it, and the README's table."""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
from pathlib import Path
from typing import Annotated

import typer

from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.files import mend_folder, replace, replace_folder
from motet_benchmarks.machine import Circumstances
from motet_benchmarks.options import RESULTS, Out, Seed, complaints
from motet_benchmarks.results import Grid, check_folder, show

#: What is swept beside the bundled default strategies.
SWEEPS = ("contrast strength=0.25,0.5,1 x plausibility=0,0.1", "motet-sft/best-of-8 n=1,4,16")
#: Requests a second.
RATES = (2.0, 8.0)
#: The run's folder within the results.
FOLDER = "strategies"
#: What the README's table stands between.
BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"


def everything(
    count: Annotated[int, typer.Option(min=1, help="Test problems of each family of the gym.")] = 2,
    seconds: Annotated[float, typer.Option(min=1, help="Of load at each rate.")] = 20.0,
    readme: Annotated[
        Path | None, typer.Option(help="A Markdown file whose table of strategies is brought up to date.")
    ] = None,
    seed: Seed = 0,
    out: Out = RESULTS,
) -> None:
    """Strategies, a server under load and the kernels, in one report, in under ten minutes on two CPU cores."""
    from motet_benchmarks.machine import circumstances
    from motet_benchmarks.strategies.report.writing import write

    with complaints():
        if readme is not None:
            parted(readme)  # before anything takes time
        check_folder(out)
        new = _measure(out, count, seconds, seed, circumstances())
        folder = out / FOLDER
        paths = [folder / path.name for path in write(new)]
        replace_folder(new, folder)
        if readme is not None:
            paths.append(refresh(readme, folder))
        show([], paths)


def _measure(out: Path, count: int, seconds: float, seed: int, where: Circumstances) -> Path:
    """One after the other, so that none is timed beside another; the folder of the run, not yet in place."""
    from motet_benchmarks import kernels
    from motet_benchmarks.load import run as load
    from motet_benchmarks.load.cli import BUNDLED_MIX
    from motet_benchmarks.load.mix import read_words
    from motet_benchmarks.load.plan import Plan as LoadPlan
    from motet_benchmarks.load.prompts import read
    from motet_benchmarks.pair import Pair
    from motet_benchmarks.strategies import run as strategies
    from motet_benchmarks.strategies.plan import BUNDLED, Plan, wanted
    from motet_benchmarks.strategies.tasks.named import Choosing, tasks_of

    # Beside, as the run of an earlier day would only be gone on with.
    beside = out / f".{FOLDER}.new"
    shutil.rmtree(beside, ignore_errors=True)
    mend_folder(out / FOLDER)
    plan = Plan(
        wanted=wanted(BUNDLED, sweeps=SWEEPS, default=BUNDLED),
        tasks=tuple(tasks_of(["gym"], Choosing(count=count, seed=seed))),
        folder=beside,
        seed=seed,
    )
    asyncio.run(strategies.measure(plan, Pair(), where=where))
    asyncio.run(
        load.measure(
            LoadPlan(rates=RATES, seconds=seconds, seed=seed),
            read_words(BUNDLED_MIX),
            read("gym"),
            where=where,
            out=out,
            urls={"motet": None},
        )
    )
    # With the run, whose report shows them: beside it are those of all cases, which take an hour.
    kernels.measure(
        dataclasses.replace(kernels.SHORT, seed=seed),
        where=where,
        out=beside,
        tell=lambda tables, paths: show(tables, [out / FOLDER / path.name for path in paths]),
    )
    return beside


def parted(readme: Path) -> tuple[str, str]:
    """What stands before and behind the table. Raises BenchmarkError where the file hasn't its two marks."""
    try:
        text = readme.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise BenchmarkError(f"--readme {readme}: can't be read: {problem}") from None
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise BenchmarkError(
            f"--readme {readme}: must hold the lines {BEGIN} and {END} once each, in this order"
        )
    return text[: text.index(BEGIN)], text[text.index(END) + len(END) :]


def refresh(readme: Path, folder: Path) -> Path:
    """Puts the strategies of a run into the README's table. Raises BenchmarkError as ``parted`` does."""
    before, behind = parted(readme)
    table = summary(folder).markdown()
    replace(readme, f"{before}{BEGIN}\n{table}\n{END}{behind}")
    return readme


def summary(folder: Path) -> Grid:
    """The strategies of a run that are no points of a sweep: quality with intervals, tokens and time."""
    from motet_benchmarks.strategies.reading import read
    from motet_benchmarks.strategies.report.analysis import analyse
    from motet_benchmarks.strategies.report.tables import quality

    found = analyse(read(folder))
    task = found.table.run.tasks[0]
    grid = quality(found, task.name, task.metric)
    titles = (
        "strategy",
        task.metric,
        f"over {found.table.first}, points",
        "verdict",
        "forwards",
        "seconds, p50",
    )
    wanted = [grid.columns.index(title) for title in titles]
    own = {each.name for each in found.table.run.strategies if each.sweep is None}
    rows = tuple(tuple(row[place] for place in wanted) for row in grid.rows if row[0] in own)
    return Grid(grid.title, titles, rows)
