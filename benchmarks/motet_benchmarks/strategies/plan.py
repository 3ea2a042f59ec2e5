"""What is tried on what, read from a command's options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from motet_alignment.store.store import default_store
from motet_benchmarks.strategies.declare import check_models, named, read_file, read_option
from motet_benchmarks.strategies.products import across, check_names, read_sweep, swept
from motet_benchmarks.strategies.records import Run, Strategy
from motet_benchmarks.strategies.tasks.task import Task

#: What is tried where nothing is named: by an endpoint of the user's, and by a server with the bundled models.
ANYWHERE = ("plain", "sampled", "contrast", "best-of-8")
BUNDLED = ("plain", "sampled", "contrast", "motet-sft", "motet-sft/best-of-8")
#: What others are compared with where only they are said.
FIRST = ("plain",)

_FILES = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class Wanted:
    """The strategies that the options name, before it is known which models the endpoint has."""

    strategies: tuple[Strategy, ...]
    known: Mapping[str, Strategy]
    """Those that a file or an option declares."""
    models: tuple[str, ...] = ()
    """For every strategy; empty where they are asked as they are."""

    def of(self, models: Sequence[str]) -> tuple[Strategy, ...]:
        """All of them, for an endpoint with `models`.

        Raises BenchmarkError for a word that is no model of the endpoint, and for two strategies of one name.
        """
        check_models(self.strategies, models, self.known)
        found = across(self.strategies, self.models) if self.models else list(self.strategies)
        check_names(found)
        return tuple(found)


def wanted(
    words: Sequence[str],
    options: Sequence[str] = (),
    sweeps: Sequence[str] = (),
    models: Sequence[str] = (),
    *,
    default: Sequence[str],
) -> Wanted:
    """What the options name: `words` of --strategies, then those of --strategy and --sweep.

    Raises BenchmarkError naming the option, the file and the strategy.
    """
    files = {word: read_file(Path(word)) for word in words if word.endswith(_FILES)}
    given = {one.name: one for one in map(read_option, options)}
    known = {name: one for found in files.values() for name, one in found.items()} | given
    strategies: list[Strategy] = []
    for word in words or (FIRST if given or sweeps else default):
        strategies += files[word].values() if word in files else named([word], known)
    strategies += [one for name, one in given.items() if name not in {each.name for each in strategies}]
    for text in sweeps:
        word, axes = read_sweep(text)
        strategies += swept(named([word], known)[0], axes)
    return Wanted(tuple(strategies), known, tuple(models))


@dataclass(frozen=True, slots=True)
class Plan:
    """A run that isn't asked yet."""

    wanted: Wanted
    tasks: tuple[Task, ...]
    folder: Path | None = None
    """Its own under $MOTET_HOME/runs where None."""
    draws: int = 1
    judge: str | None = None
    tokens: int | None = None
    """The longest answer; each task has its own bound where None."""
    concurrency: int = 16
    stream: bool = True
    warm_up: int | None = None
    """Answers of each strategy that come first and don't count; one of a running endpoint's and as many as there are at
    once of a server that is started where None."""
    seed: int = 0

    def place(self, run: Run) -> Path:
        """The run's folder: the same for the same configuration, so that the same command goes on."""
        return self.folder or default_store().parent / "runs" / f"strategies-{run.fingerprint()[:12]}"
