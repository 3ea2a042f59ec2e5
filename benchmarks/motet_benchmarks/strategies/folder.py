"""A run's folder while it is written: samples are appended as they come, and a killed run goes on."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from pydantic import ValidationError

from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.files import replace
from motet_benchmarks.results import check_folder
from motet_benchmarks.strategies.reading import read_run
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
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        check_folder(self.path)
        self._file = (self.path / SAMPLES_FILE).open("a+b")
        try:
            self._take()
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, sample: Sample) -> None:
        """Keeps a sample: one whole line, handed to the system at once."""
        assert self._file is not None
        self._file.write(_line(sample))
        self._file.flush()
        self.samples[key_of(sample)] = sample

    def replace(self, samples: Iterable[Sample]) -> None:
        """Puts other versions in the place of samples that are there already."""
        self._write(self.samples | {key_of(sample): sample for sample in samples})

    def drop_refused(self) -> None:
        """Forgets the problems that the endpoint has refused: it may have been started anew with a longer context."""
        kept = {key: sample for key, sample in self.samples.items() if sample.refusal is None}
        if len(kept) < len(self.samples):
            self._write(kept)

    def _write(self, samples: dict[Key, Sample]) -> None:
        self.samples = samples
        beside = self.path / f".{SAMPLES_FILE}.new"
        beside.write_bytes(b"".join(map(_line, self.samples.values())))
        assert self._file is not None
        self._file.close()
        os.replace(beside, self.path / SAMPLES_FILE)
        self._file = (self.path / SAMPLES_FILE).open("a+b")
        self._lock()

    def refuse(self, strategy: str, reason: str | None) -> None:
        """Remembers what the endpoint said to a strategy; None where it serves it after all."""
        refused = {name: said for name, said in self.run.refused.items() if name != strategy}
        if reason is not None:
            refused[strategy] = reason
        if refused != dict(self.run.refused):
            self.run = self.run.model_copy(update={"refused": refused})
            self._save()

    def _take(self) -> None:
        self._lock()
        path = self.path / RUN_FILE
        if path.exists():
            before = read_run(path)
            if before.fingerprint() != self.run.fingerprint():
                differing = "; ".join(differences(before, self.run))
                raise BenchmarkError(
                    f"--run {self.path}: holds a run of another configuration ({differing}); name another folder"
                )
            # What was measured first stays told: where, when, by which command.
            self.run = before
        elif (self.path / SAMPLES_FILE).stat().st_size:
            raise BenchmarkError(f"--run {self.path}: has samples and no {RUN_FILE} to say of what")
        self.samples = {key_of(sample): sample for sample in self._read()}
        self._save()

    def _lock(self) -> None:
        assert self._file is not None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BenchmarkError(f"--run {self.path}: another run is writing there") from None

    def _read(self) -> list[Sample]:
        """The samples that are there; what a killed run has left of its last line is cut off."""
        assert self._file is not None
        self._file.seek(0)
        content = self._file.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            self._file.truncate(whole)
        samples = []
        for number, line in enumerate(content[:whole].splitlines(), 1):
            try:
                samples.append(Sample.model_validate_json(line))
            except ValidationError as error:
                problem = error.errors()[0]
                place = ".".join(map(str, problem["loc"]))
                raise BenchmarkError(
                    f"{self.path / SAMPLES_FILE}: line {number} is no sample: {place} {problem['msg']}"
                ) from None
        return samples

    def _save(self) -> None:
        replace(self.path / RUN_FILE, self.run.model_dump_json(indent=1) + "\n")


def differences(before: Run, now: Run) -> list[str]:
    """What decides other answers in one run than in the other, each in a few words."""
    found = [
        f"{name} {was!r} there, {is_!r} here"
        for name in ("model", "draws", "seed", "tokens", "judge")
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
