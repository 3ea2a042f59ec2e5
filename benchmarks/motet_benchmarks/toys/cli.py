"""`motet models`: make and measure the bundled models."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.gym.examples import SHORTCUT, WORKED
from motet_benchmarks.options import complaints
from motet_benchmarks.trials import COUNT, TUNING

if TYPE_CHECKING:
    from motet_benchmarks.toys.record import Record

app = typer.Typer(help="Make and measure the bundled models.", no_args_is_help=True)

RESULTS = Path("benchmarks/results/toys.json")

Folder = Annotated[
    Path | None,
    typer.Option(
        help="Where expert/, amateur/ and adapters/ stand; the installed package's own folder when left out."
    ),
]
ResultsFile = Annotated[
    Path | None,
    typer.Option(
        help="The JSON file with the record of the pair: how it was made, which weights these are, what was "
        f"measured. FOLDER/toys.json when left out, or {RESULTS} without a folder."
    ),
]
Count = Annotated[int, typer.Option(min=1, help="Test problems of each family.")]
Tuning = Annotated[
    int, typer.Option(min=1, help="Validation problems of each family that choose the contrast.")
]
Work = Annotated[
    Path | None,
    typer.Option(
        help="Where trainings are kept, so that a run that was killed is gone on with; a temporary folder when left "
        "out."
    ),
]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; torch's own choice when left out.")]


@app.command()
def build(
    folder: Folder = None,
    results: ResultsFile = None,
    count: Count = COUNT,
    tuning: Tuning = TUNING,
    threads: Threads = None,
) -> None:
    """Train the pair and its adapters anew, measure them, write record and card. Takes hours on two cores.

    The models that stand in the folder are replaced when both new ones are trained. From there on `evaluate` and then
    `adapters` can take over, should it be interrupted.
    """
    from motet_benchmarks.toys import record, report
    from motet_benchmarks.toys.build import build as build_pair
    from motet_benchmarks.toys.settings import AdapterRecipe, PpoRecipe, Recipe

    _use(threads)
    where, path = _places(folder, results)
    made = build_pair(Recipe(), where, typer.echo)
    record.write(made, path)
    made = report.measure(made, where, path, count=count, tuning=tuning, say=typer.echo)
    with _complaints(), _work(None) as work:
        made = report.adapt(made, AdapterRecipe(), where, path, work, count=count, say=typer.echo)
        report.reinforce_all(made, PpoRecipe(), where, path, work, count=count, say=typer.echo)


@app.command()
def evaluate(
    folder: Folder = None,
    results: ResultsFile = None,
    count: Count = COUNT,
    tuning: Tuning = TUNING,
    threads: Threads = None,
) -> None:
    """Measure a pair that `build` made, and write its record and card again. Its adapters' figures stay as they are."""
    from motet_benchmarks.toys import report

    _use(threads)
    where, path = _places(folder, results)
    made = _read(path, where)
    report.measure(made, where, path, count=count, tuning=tuning, say=typer.echo)


@app.command()
def adapters(
    folder: Folder = None,
    results: ResultsFile = None,
    work: Work = None,
    count: Count = COUNT,
    threads: Threads = None,
) -> None:
    """Train a measured pair's adapters anew (SFT, DPO, reward, PPO, three seeds), measure them, write record and card.

    Takes hours on two CPU cores. The adapters that stand in the folder are replaced when SFT, DPO and reward adapters
    of all seeds are trained and measured; from there on `ppo` can take over, should it be interrupted.
    """
    from motet_benchmarks.toys import report
    from motet_benchmarks.toys.settings import AdapterRecipe, PpoRecipe

    _use(threads)
    where, path = _places(folder, results)
    made = _read(path, where, upto="pair")
    with _complaints(), _work(work) as place:
        made = report.adapt(made, AdapterRecipe(), where, path, place, count=count, say=typer.echo)
        report.reinforce_all(made, PpoRecipe(), where, path, place, count=count, say=typer.echo)


@app.command()
def ppo(
    seed: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Train and measure this seed alone, for seeds side by side; with --work, from which the command "
            "without --seed then takes them all.",
        ),
    ] = None,
    folder: Folder = None,
    results: ResultsFile = None,
    work: Work = None,
    count: Count = COUNT,
    threads: Threads = None,
) -> None:
    """Train the PPO adapters anew from the SFT and reward adapters that stand there; measure, write record and card.

    PPO learns twice for each of the three seeds: against the gym's grader, of which the first seed's is bundled beside
    the others, and against the seed's reward adapter, to compare. SFT and reward adapters of the other seeds are
    trained first.
    """
    from motet_benchmarks.toys import report
    from motet_benchmarks.toys.settings import PpoRecipe

    _use(threads)
    where, path = _places(folder, results)
    made = _read(path, where, upto="adapters")
    if seed is not None and work is None:
        raise typer.BadParameter("needs --work: nothing else would be left of one seed", param_hint="--seed")
    if seed is not None and made.adapters is not None and seed not in made.adapters.recipe.seeds:
        known = ", ".join(map(str, made.adapters.recipe.seeds))
        raise typer.BadParameter(f"{seed}: the adapters' seeds are {known}", param_hint="--seed")
    with _complaints(), _work(work) as place:
        if seed is None:
            report.reinforce_all(made, PpoRecipe(), where, path, place, count=count, say=typer.echo)
        else:
            report.reinforce_seed(made, PpoRecipe(), seed, where, place, count=count, say=typer.echo)


@app.command()
def examples(
    kind: Annotated[
        Literal["demonstrations", "comparisons", "prompts"],
        typer.Option(
            help="Questions with their answers, each with a right and a mistaken answer, or to be answered and graded."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The JSONL file to write.")],
    number: Annotated[int, typer.Option("--number", "-n", min=1, help="How many.")] = 10_000,
    seed: Annotated[int, typer.Option("--seed", "-s", help="Another seed draws other problems.")] = 0,
    worked: Annotated[
        float,
        typer.Option(min=0, max=1, help="Part of the problems with worked steps that asks for them."),
    ] = WORKED,
    shortcut: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Part of the mistakes that is the family's easiest one (comparisons)."
        ),
    ] = SHORTCUT,
) -> None:
    """Write training data for `motet train`, drawn from the gym's training problems alone."""
    from motet_benchmarks.gym.examples import KINDS, write

    parts = {"shortcut": shortcut} if kind == "comparisons" else {}
    drawn = KINDS[kind](seed=seed, worked=worked, **parts)
    with _complaints():
        write(out, drawn, count=number)
    typer.echo(f"written: {out}, {number:,} {kind}")


def _places(folder: Path | None, results: Path | None) -> tuple[Path, Path]:
    """Where the models stand, and where their record."""
    from motet_models import EXPERT

    if folder is None:
        return EXPERT.parent, results or RESULTS
    return folder, results or folder / "toys.json"


def _read(results: Path, folder: Path, *, upto: Literal["pair", "adapters", "ppo"] = "ppo") -> Record:
    """The record of what stands in `folder`, without what comes after `upto`, which may be any."""
    from motet_alignment.errors import AlignmentError
    from motet_benchmarks.toys import record

    try:
        found = record.read(results)
        if upto != "ppo":
            found = replace(found, ppo=None)
        if upto == "pair":
            found = replace(found, adapters=None)
        record.check(found, folder)
        if upto != "ppo" and found.measured is None:
            raise ValueError(
                f"{results}: the pair has not been measured yet; `motet models evaluate` does it"
            )
        if upto == "adapters" and found.adapters is None:
            raise ValueError(f"{results}: the pair has no adapters yet; `motet models adapters` trains them")
    except (OSError, ValueError, AlignmentError) as problem:
        raise typer.BadParameter(str(problem), param_hint="--folder / --results") from None
    return found


@contextmanager
def _work(folder: Path | None) -> Iterator[Path]:
    """The folder that trainings are kept in."""
    if folder is not None:
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="motet-models-") as place:
        yield Path(place)


@contextmanager
def _complaints() -> Iterator[None]:
    """What the user can mend is said in a sentence, with exit code 2."""
    from motet_alignment.errors import AlignmentError

    with complaints("motet models"):
        try:
            yield
        except AlignmentError as problem:
            raise BenchmarkError(str(problem)) from None


def _use(threads: int | None) -> None:
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
