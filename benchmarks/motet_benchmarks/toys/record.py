"""What is on record about a pair and its adapters: how they were made, which files came of it, what they can do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import file_digest
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from motet_benchmarks.files import replace
from motet_benchmarks.toys.adapted import Adapted
from motet_benchmarks.toys.adapters import NAMES
from motet_benchmarks.toys.evaluate import Results
from motet_benchmarks.toys.ppo import PPO
from motet_benchmarks.toys.ppo_measured import PpoMeasured
from motet_benchmarks.toys.published import versions
from motet_benchmarks.toys.settings import AdapterRecipe, PpoRecipe, Recipe

WEIGHTS = "model.safetensors"
ADAPTERS = "adapters"


@dataclass(frozen=True, slots=True)
class Made:
    """How one model came about."""

    parameters: int
    tokens: int
    """Tokens of text it was trained on, filling left out."""
    minutes: float
    threads: int
    loss: float
    """Mean of the last hundred steps, in nats."""
    sha256: str
    """Of its weights file."""


@dataclass(frozen=True, slots=True)
class MadeAdapters:
    """How the pair's adapters came about."""

    recipe: AdapterRecipe
    versions: Mapping[str, str]
    """Of what is bundled, by name."""
    torch: str
    threads: int
    measured: Adapted


@dataclass(frozen=True, slots=True)
class MadePpo:
    """How the PPO adapter came about, from the SFT and reward adapters on record."""

    recipe: PpoRecipe
    version: str
    reward: str
    """The version of the first seed's reward adapter, against which PPO learnt to compare."""
    torch: str
    threads: int
    measured: PpoMeasured


@dataclass(frozen=True, slots=True)
class Record:
    """Everything known about a pair."""

    recipe: Recipe
    """As it was followed on the machine that made the pair."""
    shares: Mapping[str, float]
    """Part of each family's answers that is mistaken in the expert's text."""
    torch: str
    """The version that trained."""
    made: Mapping[str, Made]
    """By "expert" and "amateur"."""
    measured: Results | None = None
    adapters: MadeAdapters | None = None
    ppo: MadePpo | None = None

    @property
    def versions(self) -> dict[str, str]:
        """Of the adapters that are bundled, by name."""
        if self.adapters is None:
            return {}
        return {**self.adapters.versions, **({} if self.ppo is None else {PPO: self.ppo.version})}


def digest(folder: Path) -> str:
    """SHA-256 of the weights in a model's folder. Raises OSError if they can't be read."""
    with (folder / WEIGHTS).open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def check(record: Record, folder: Path) -> None:
    """See to it that `folder`/expert and `folder`/amateur are the pair on record, and `folder`/adapters its adapters.

    Raises OSError if their weights can't be read, ValueError naming the file or adapter that is another, StoreError for
    an adapter that is missing or damaged.
    """
    for name, made in record.made.items():
        if (found := digest(folder / name)) != made.sha256:
            raise ValueError(
                f"{folder / name / WEIGHTS}: not the weights on record: sha256 {found}, on record {made.sha256}"
            )
    for name, version in versions(folder / ADAPTERS, tuple(record.versions)).items():
        if version != record.versions[name]:
            raise ValueError(
                f"{folder / ADAPTERS / name}: version {version}, on record {record.versions[name]}"
            )


def read(path: Path) -> Record:
    """The record that `write` wrote.

    Raises OSError if it can't be read, ValueError naming the file and the field if it holds something else.
    """
    try:
        record = TypeAdapter(Record).validate_json(path.read_bytes())
    except ValidationError as problem:
        first = problem.errors()[0]
        where = ".".join(map(str, first["loc"])) or "it"
        raise ValueError(f"{path}: not the record of a pair: {where}: {first['msg']}") from problem
    if set(record.made) != {"expert", "amateur"}:
        raise ValueError(f"{path}: not the record of a pair: made: must name expert and amateur")
    if record.adapters is not None and set(record.adapters.versions) != set(NAMES):
        raise ValueError(f"{path}: not the record of a pair: adapters.versions: must name {', '.join(NAMES)}")
    if record.ppo is not None and record.adapters is None:
        raise ValueError(f"{path}: not the record of a pair: ppo: came of adapters that are not on record")
    return record


def write(record: Record, path: Path) -> None:
    """Put the record into `path` as JSON."""
    replace(path, json.dumps(asdict(record), indent=1) + "\n")
