"""A run's folder while it is written: samples are appended as they come, and a killed run goes on."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.files import replace
from motet_benchmarks.results import check_folder
from motet_benchmarks.strategies.reading import read_run, read_samples
from motet_benchmarks.strategies.records import RUN_FILE, SAMPLES_FILE, Run, Sample

#: Which answer a sample is: strategy, task, problem, draw.
Key = tuple[str, str, str, int]


class RunFolder:
    """`run.json` and `samples.jsonl` of one run; to be entered before it is written.

    Args:
        path: made if it isn't there.
        run: what is to be asked.

    Entering raises BenchmarkError for a folder of another configuration (saying what differs), of a run that is
    still going on, or with a line that is no sample.
    """

    def __init__(self, path: Path, run: Run) -> None:
        self.path = path
        self.run = run
        self.samples: dict[Key, Sample] = {}
        self.before = 0
        """How many answers were there when it was entered."""
        self._open = ExitStack()
        self._file: FileIO | None = None

    def __enter__(self) -> Self:
        check_folder(self.path, "--run")
        with ExitStack() as opening:
            opening.callback(self._close)
            self._lock()
            self._take()
            opening.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def add(self, sample: Sample) -> None:
        """Keeps a sample: one whole line, handed to the system at once. Raises BenchmarkError where it can't be."""
        with self._writing():
            if self._file is None:
                self._file = self._open.enter_context((self.path / SAMPLES_FILE).open("ab", buffering=0))
            whole, left = self._file.tell(), _line(sample)
            try:
                while left:
                    left = left[self._file.write(left) :]
            except OSError:
                with suppress(OSError):
                    self._file.truncate(whole)
                raise
        self.samples[key_of(sample)] = sample

    def replace(self, samples: Iterable[Sample]) -> None:
        """Puts other versions in the place of samples that are there already."""
        self._write(self.samples | {key_of(sample): sample for sample in samples})

    def drop_refused(self) -> None:
        """Forgets the problems that the endpoint has refused: it may have been started anew with a longer context."""
        kept = {key: sample for key, sample in self.samples.items() if sample.refusal is None}
        if len(kept) < len(self.samples):
            self._write(kept)

    def refuse(self, strategy: str, reason: str | None) -> None:
        """Remembers what the endpoint said to a strategy; None where it serves it after all."""
        refused = {name: said for name, said in self.run.refused.items() if name != strategy}
        if reason is not None:
            refused[strategy] = reason
        self._change(refused=refused)

    def _change(self, **fields: Any) -> None:
        changed = self.run.model_copy(update=fields)
        if changed != self.run:
            self.run = changed
            self._save()

    def _take(self) -> None:
        path = self.path / RUN_FILE
        if path.exists():
            before = read_run(path)
            if before.fingerprint() != self.run.fingerprint():
                differing = "; ".join(differences(before, self.run))
                raise BenchmarkError(
                    f"--run {self.path}: holds a run of another configuration ({differing}); name another folder"
                )
            # What was measured first stays told: where, when, by which command.
            changed = (*before.changed, *changes(before, self.run))
            self.run = before.model_copy(update={"changed": tuple(dict.fromkeys(changed))})
            self._read()
        elif (self.path / SAMPLES_FILE).exists():
            raise BenchmarkError(f"--run {self.path}: has samples and no {RUN_FILE} to say of what")
        self._save()

    def _read(self) -> None:
        """The samples that are there; what a killed run has left of its last line is cut off."""
        if not (self.path / SAMPLES_FILE).exists():
            return
        samples, torn = read_samples(self.path / SAMPLES_FILE, self.run)
        self.samples = {key_of(sample): sample for sample in samples}
        self.before = sum(sample.refusal is None for sample in samples)
        if torn:
            self._write(self.samples)

    def _write(self, samples: dict[Key, Sample]) -> None:
        self._open.close()
        self._file = None
        with self._writing():
            replace(self.path / SAMPLES_FILE, b"".join(map(_line, samples.values())))
        self.samples = samples

    def _save(self) -> None:
        with self._writing():
            replace(self.path / RUN_FILE, self.run.model_dump_json(indent=1) + "\n")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as problem:
            raise BenchmarkError(f"{self.path}: can't write there: {problem.strerror or problem}") from None

    def _lock(self) -> None:
        # The folder itself, as the files in it are replaced.
        self._locked = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.flock(self._locked, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BenchmarkError(f"--run {self.path}: another run is writing there") from None

    def _close(self) -> None:
        try:
            self._open.close()
        finally:
            os.close(self._locked)


def changes(before: Run, now: Run) -> list[str]:
    """What answers of the same configuration were asked differently in, each in a few words."""
    said: list[tuple[str, Any, Any]] = [
        (name, getattr(before, name), getattr(now, name)) for name in ("concurrency", "warm_up", "stream")
    ]
    if now.url is None:
        # The machine of a running endpoint isn't known, nor what is installed there.
        there, here = before.circumstances, now.circumstances
        said += [(name, there.get(name), here.get(name)) for name in ("cpu", "cores", "gpus", "versions")]
    return [f"{name} {was}, then {is_}" for name, was, is_ in said if was != is_ and was is not None]


def differences(before: Run, now: Run) -> list[str]:
    """What decides other answers in one run than in the other, each in a few words."""
    found = [
        f"{name} {was!r} there, {is_!r} here"
        for name in ("url", "server", "model", "draws", "seed", "tokens", "judge")
        if (was := getattr(before, name)) != (is_ := getattr(now, name))
    ]
    found += _listed("strategy", before.strategies, now.strategies)
    found += _listed("task", before.tasks, now.tasks)
    return found or ["the order of strategies or tasks"]


def _listed(kind: str, before: Sequence[object], now: Sequence[object]) -> list[str]:
    there = {str(getattr(one, "name", one)): one for one in before}
    here = {str(getattr(one, "name", one)): one for one in now}
    return [
        *(f"{kind} {name} only there" for name in there if name not in here),
        *(f"{kind} {name} only here" for name in here if name not in there),
        *(f"{kind} {name} has changed" for name in there if name in here and there[name] != here[name]),
    ]


def key_of(sample: Sample) -> Key:
    """Which answer it is."""
    return sample.strategy, sample.task, sample.problem, sample.draw


def _line(sample: Sample) -> bytes:
    # ASCII, so that no separator inside a text is taken for the end of a line.
    return (json.dumps(sample.model_dump(mode="json")) + "\n").encode()
