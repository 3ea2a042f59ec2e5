"""Where the measured figures go: the record in one JSON file, and the card beside the models."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import torch

from motet_benchmarks.files import replace
from motet_benchmarks.statistics import share
from motet_benchmarks.toys import curves
from motet_benchmarks.toys.adapted import Measuring
from motet_benchmarks.toys.adapters import Trainings
from motet_benchmarks.toys.card import card
from motet_benchmarks.toys.evaluate import evaluate
from motet_benchmarks.toys.kept import once
from motet_benchmarks.toys.ppo import PpoRun, bundle, reinforce
from motet_benchmarks.toys.ppo_measured import Outcomes, measured, outcomes
from motet_benchmarks.toys.published import publish
from motet_benchmarks.toys.record import ADAPTERS, MadeAdapters, MadePpo, Record, check, write
from motet_benchmarks.toys.settings import AdapterRecipe, PpoRecipe
from motet_decoding.contrast import Contrast


def measure(
    record: Record, folder: Path, results: Path, *, count: int, tuning: int, say: Callable[[str], None]
) -> Record:
    """Measure the pair in `folder`, which must be the one on record; write `results` and the card in README.md.

    Raises OSError or ValueError, before anything is measured, if the weights are not those on record.
    """
    check(record, folder)
    found = evaluate(folder / "expert", folder / "amateur", count=count, tuning=tuning, say=say)
    return _write(dataclasses.replace(record, measured=found), folder, results, say)


def adapt(
    record: Record,
    recipe: AdapterRecipe,
    folder: Path,
    results: Path,
    work: Path,
    *,
    count: int,
    say: Callable[[str], None],
) -> Record:
    """Train adapters for the measured pair in `folder`, measure them, bundle the first seed's in `folder`/adapters.

    What stands there is replaced when all are trained and measured. Writes `results` and the card in README.md; in
    `work`, a run that was killed is gone on with. Raises ValueError if the pair wasn't measured, AlignmentError where a
    training can't be done.
    """
    if record.measured is None:
        raise ValueError("the pair must be measured first")
    expert, amateur = folder / "expert", folder / "amateur"
    measuring = Measuring(
        expert,
        amateur,
        Contrast(strength=record.measured.strength, plausibility=record.measured.plausibility),
        count=count,
    )
    runs = []
    for seed in recipe.seeds:
        runs.append(Trainings(recipe, seed, expert, _of_seed(work, seed), say).run())
        measuring.add(runs[-1], say)
    versions = publish(runs[0], expert, folder / ADAPTERS)
    made = MadeAdapters(recipe, versions, torch.__version__, torch.get_num_threads(), measuring.results())
    return _write(dataclasses.replace(record, adapters=made, ppo=None), folder, results, say)


def reinforce_seed(
    record: Record,
    recipe: PpoRecipe,
    seed: int,
    folder: Path,
    work: Path,
    *,
    count: int,
    say: Callable[[str], None],
) -> tuple[PpoRun, Outcomes]:
    """Train and measure the PPO adapters of one seed; all stays in `work`, and what is there isn't done again.

    Raises ValueError if the adapters that PPO starts from aren't on record, AlignmentError where a training can't be
    done, BenchmarkError where `work` holds other work.
    """
    if record.adapters is None:
        raise ValueError("the pair's adapters must be trained first")
    expert, place = folder / "expert", _of_seed(work, seed)
    run = reinforce(recipe, record.adapters.recipe, seed, expert, folder / ADAPTERS, place, say)
    basis = {
        "count": count,
        "adapters": [run.sft.reference, run.by_reward.reference, run.by_grader.reference],
    }
    found = once(place / "outcomes.json", Outcomes, basis, lambda: outcomes(run, expert, count=count))
    say(
        f"seed {seed}: SFT {share(found.sft.plain).value:.1%}, PPO against the reward adapter "
        f"{share(found.by_reward.plain).value:.1%}, against the grader {share(found.by_grader.plain).value:.1%}"
    )
    return run, found


def reinforce_all(
    record: Record,
    recipe: PpoRecipe,
    folder: Path,
    results: Path,
    work: Path,
    *,
    count: int,
    say: Callable[[str], None],
) -> Record:
    """The PPO adapters of all seeds, measured; the first seed's is bundled beside the others in `folder`/adapters.

    Writes `results`, the runs' curves beside it, and the card in README.md. Raises as `reinforce_seed`.
    """
    if record.adapters is None:
        raise ValueError("the pair's adapters must be trained first")
    runs = [
        reinforce_seed(record, recipe, seed, folder, work, count=count, say=say)
        for seed in record.adapters.recipe.seeds
    ]
    first = runs[0][0]
    version = bundle(first, folder / "expert", folder / ADAPTERS)
    figures = measured(runs, count=count)
    threads = first.by_grader.threads
    made = MadePpo(recipe, version, first.reward.version, torch.__version__, threads, figures)
    paths = curves.write(
        results.parent,
        {
            "the reward adapter": {run.seed: run.by_reward.curve for run, _ in runs},
            "the grader": {run.seed: run.by_grader.curve for run, _ in runs},
        },
        recipe.kl_target,
    )
    say(f"written: {', '.join(map(str, paths))}")
    return _write(dataclasses.replace(record, ppo=made), folder, results, say)


def _of_seed(work: Path, seed: int) -> Path:
    """Each seed's trainings have a folder of their own, so that seeds may be trained side by side."""
    return work / f"seed-{seed}"


def _write(record: Record, folder: Path, results: Path, say: Callable[[str], None]) -> Record:
    if record.measured is None:
        raise ValueError("a card is written of what was measured")
    write(record, results)
    replace(folder / "README.md", card(record, record.measured))
    say(f"written: {results} and {folder / 'README.md'}")
    return record
